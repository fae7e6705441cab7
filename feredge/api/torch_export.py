"""PyTorch modules as ONNX files, which `export` takes."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from feredge import files
from feredge.errors import RecipeError

TorchModule = Any
TorchTensor = Any


def from_torch(module: TorchModule, example: TorchTensor, out: str | PathLike[str] = "network.onnx") -> Path:
    """Write a PyTorch module as an ONNX file, in evaluation mode and for any batch size, and return its path.

    Needs the extra `torch`. The file is for `export`:

        path = feredge.from_torch(module, torch.zeros(1, 3, 224, 224))
        feredge.export(path, data="pictures", input_size=224, input_range="imagenet", classes=names)

    Args:
        module: an image classifier, a `torch.nn.Module`.
        example: an input that it takes: float32 (1, C, H, W).
        out: the file to write.

    Raises:
        RecipeError: `module` is something else.
        torch.onnx.OnnxExporterError: a module that torch.onnx.export cannot trace.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise RecipeError(f"expected a torch.nn.Module, found {type(module).__name__}")
    was_training = module.training
    module.eval()
    try:
        with files.replacing(Path(out)) as temporary:
            dynamic_shapes = ({0: torch.export.Dim.AUTO},)
            torch.onnx.export(
                module,
                (example,),
                temporary,
                dynamo=True,
                dynamic_shapes=dynamic_shapes,
                external_data=False,
                verbose=False,
            )
    finally:
        module.train(was_training)
    return Path(out)
