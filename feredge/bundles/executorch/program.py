"""The `.pte` of an ONNX file, written and run by ExecuTorch, each in a child process.

The libraries write lines to stderr from C++ as they load and lower, and a program that they misread ends a process.
"""

from __future__ import annotations

import importlib.util
import tempfile
from importlib import metadata
from pathlib import Path

import numpy as np

from feredge.bundles.source import Source
from feredge.errors import ArtifactError, MissingPackageError, one_line
from feredge.inference.contract import Images
from feredge.inference.runtimes import Probabilities
from feredge.inspection.child import run_in_child
from feredge.inspection.limits import Limits

TESTED_VERSIONS = "executorch 1.4.0 with torch 2.13.0"
LOWERING_LIMITS = Limits(wall_seconds=600.0, cpu_seconds=1200, memory_bytes=32 << 30)
"""Importing torch and executorch maps 10 GB; networks of a hundred layers take minutes to lower."""


def program_file(source: Source) -> bytes:
    """Return the `.pte` program of a file for the XNNPACK backend. The same versions give the same bytes.

    Raises:
        MissingPackageError: torch, executorch or onnx is not installed.
        ArtifactError: a network that cannot be translated or lowered.
    """
    require_packages()
    with tempfile.TemporaryDirectory(prefix="feredge-") as folder:
        model, program = Path(folder, "model.onnx"), Path(folder, "net.pte")
        model.write_bytes(source.data)
        shape = (1, *source.card.contract.shape)
        run_in_child(lower, source.name, limits=LOWERING_LIMITS, model=model, shape=shape, out=program)
        return program.read_bytes()


def predict(program: Path, images: Images) -> Probabilities:
    """Run a `.pte` program in ExecuTorch's runtime: `float32 (N, classes)` for `uint8 (N, H, W, C)`, one at a time.

    Raises:
        MissingPackageError: torch or executorch is not installed.
        ArtifactError: a program that does not load or run.
    """
    require_packages()
    with tempfile.TemporaryDirectory(prefix="feredge-") as folder:
        inputs, outputs = Path(folder, "images.npy"), Path(folder, "probabilities.npy")
        np.save(inputs, images)
        run_in_child(execute, program, limits=LOWERING_LIMITS, program=program, images=inputs, out=outputs)
        probabilities: Probabilities = np.load(outputs)
        return probabilities


def require_packages() -> None:
    """Raise MissingPackageError unless torch, executorch and onnx are installed."""
    missing = [name for name in ("torch", "executorch", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f"expected {' and '.join(missing)}, found none; pip install 'feredge[executorch]' "
            f"(tested: {TESTED_VERSIONS})"
        )


def package_versions() -> str:
    """Return the installed versions, as TESTED_VERSIONS; without the local part of torch's, as `+cpu`."""
    require_packages()
    executorch, torch = (metadata.version(name).partition("+")[0] for name in ("executorch", "torch"))
    return f"executorch {executorch} with torch {torch}"


def lower(model: str, shape: list[int], out: str) -> None:
    """Write the program of an ONNX file. Runs in a child process.

    Args:
        model: the ONNX file.
        shape: of its input, with a batch of one.
        out: the `.pte` file.
    """
    import onnx
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from feredge.bundles.executorch.translation import build_module

    module = build_module(onnx.load(model))
    try:
        exported = torch.export.export(module, (torch.zeros(shape, dtype=torch.uint8),))
        program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    except Exception as error:  # torch and ExecuTorch raise a dozen kinds
        raise ArtifactError(f"expected a network that ExecuTorch lowers, found another ({one_line(error)})") from error
    Path(out).write_bytes(program.buffer)


def execute(program: str, images: str, out: str) -> None:
    """Run a program on a file of images, and write its outputs to a file. Runs in a child process."""
    import torch
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(program).load_method("forward")
    if method is None:
        raise ArtifactError(f"{program}: expected a program with a method forward, found none")
    batch = torch.from_numpy(np.load(images))
    np.save(out, np.concatenate([method.execute([image[None]])[0].numpy() for image in batch]))
