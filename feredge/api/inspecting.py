"""Contents of a model file, and lists of the reference models and recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feredge.api.dataframe import to_dataframe
from feredge.errors import ArtifactError, NoCardError

if TYPE_CHECKING:
    import pandas


OUTPUT_KINDS = {"softmax": "probabilities", "logits": "logits", "sigmoid": "a sigmoid each"}


@dataclass(frozen=True)
class InspectResult:
    """Contents of a model file.

    Attributes:
        fields: values by name: classes, input, weights, size, the oldest runtime version known to run it, and other
            metadata. Those of the weights require `pip install 'feredge[workshop]'`.
    """

    fields: Mapping[str, Any]


def inspect(model: str | PathLike[str]) -> InspectResult:
    """Read a model file's metadata and contents, in a child process with limits.

    Args:
        model: a model file, a folder of exported files, a run folder or a name of `feredge.models()`. Of an `.onnx` or
            `.tflite` file that feredge did not write, input and outputs are shown.

    Raises:
        ArtifactError: not a model, or a damaged one.
    """
    from feredge.inference.shared_library import SHARED_LIBRARY_SUFFIX
    from feredge.inspection.child import run_in_child

    if Path(model).suffix == SHARED_LIBRARY_SUFFIX:
        raise ArtifactError(f"{model}: expected a model file, found native code, which is not run to inspect it")
    return InspectResult(run_in_child(read_model, Path(model), model=str(model)))


def read_model(model: str) -> dict[str, Any]:
    """Return the contents of a model file; runs in a child process, because the file may be malicious."""
    from feredge import files
    from feredge.inference.artifact import Manifest
    from feredge.inference.runtimes import open_checked
    from feredge.inspection import macs

    try:
        runner = open_checked(model)
    except NoCardError:
        if Path(model).suffix not in (".onnx", ".tflite"):
            raise
        return _read_foreign(Path(model))
    file, card = runner.path, runner.card
    fields: dict[str, Any] = {
        "file": file.name,
        "sha256": files.sha256(file),
        "bytes": file.stat().st_size,
        "network": card.recipe.get("name", ""),
        "variant": card.variant,
        "precision": card.precision,
        "float_layers": list(card.float_layers),
        "classes": list(card.classes),
        "input": "uint8 (N, {}, {}, {}), 0 to 255".format(*card.contract.shape),
        "licence": card.licence,
    }
    try:
        from feredge.inspection import requirements, weights

        contents = weights.read(file)
        fields |= requirements.of_file(file, contents)
        fields["weights"] = sum(int(kernel.size) for kernel in contents.kernels.values())
        fields["sparsity"] = round(contents.sparsity, 4)
    except ModuleNotFoundError:  # the formats' readers are installed with feredge[workshop]
        pass
    if Path(model).is_dir():
        failures = Manifest.read(file.parent, check=False).failures
        fields["not_exported"] = [f"{failure.file}: {failure.reason}" for failure in failures]
    operations = macs.count(file)
    if operations is not None:
        fields["multiply_adds"] = operations.floating + operations.integer
    fields |= {"source": card.source, "made_with": card.versions}
    return {name: value for name, value in fields.items() if value not in ("", [], {})}


def _read_foreign(file: Path) -> dict[str, Any]:
    """Return the contents of a file without a card."""
    from feredge import files
    from feredge.inference.foreign import ForeignRunner, check_foreign, output_names
    from feredge.inspection import macs

    check_foreign(file)
    names = output_names(file)
    fields: dict[str, Any] = {"file": file.name, "sha256": files.sha256(file), "bytes": file.stat().st_size}
    for name in names:
        signature = ForeignRunner(file, output=name).signature()
        contract, scaled = signature.contract, "scaled pixels" if signature.scaled else "integer pixels, 0 to 255"
        layout = "N, {2}, {0}, {1}" if signature.channels_first else "N, {0}, {1}, {2}"
        fields["input"] = f"({layout.format(*contract.shape)}), {scaled}"
        fields[f"output {name}"] = f"{signature.classes} classes, {OUTPUT_KINDS[signature.activation]}"
    operations = macs.count(file)
    if operations is not None:
        fields["multiply_adds"] = operations.floating + operations.integer
    return fields


@dataclass(frozen=True)
class ModelInfo:
    """A reference model.

    Attributes:
        name: name that `Predictor` and `--model` accept.
        file: the model file.
        size_bytes: size of the file.
        accuracy: fraction of the test images that it classifies correctly; None without results in its folder.
        test_images: number of test images.
    """

    name: str
    file: Path
    size_bytes: int
    accuracy: float | None = None
    test_images: int | None = None


@dataclass(frozen=True)
class ModelsResult:
    """The available reference models."""

    models: tuple[ModelInfo, ...]

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per model."""
        columns = ("name", "file", "size_bytes", "accuracy", "test_images")
        return to_dataframe(({key: getattr(model, key) for key in columns} for model in self.models), columns)


def models() -> ModelsResult:
    """List the available reference models, by name."""
    from feredge.inference import model_zoo

    return ModelsResult(tuple(_model_info(name, path) for name, path in model_zoo.models().items()))


def recipes() -> tuple[str, ...]:
    """List the recipes that come with feredge, by name."""
    from feredge.recipes import names

    return tuple(names())


def _model_info(name: str, path: Path) -> ModelInfo:
    from feredge.benchmark.results import Results
    from feredge.files import sha256
    from feredge.inference.runtimes import find_model
    from feredge.run import RunFolder

    file = find_model(path)
    results = RunFolder(path).results
    rows = Results.read(results).rows if results.is_file() else ()
    digest, size = sha256(file), file.stat().st_size
    for row in rows:
        if row.sha256 == digest and row.accuracy is not None:
            return ModelInfo(name, file, size, row.accuracy.accuracy, row.accuracy.images)
    return ModelInfo(name, file, size)
