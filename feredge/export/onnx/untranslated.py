"""Export of an ONNX network with operators that no Keras layer computes: as ONNX files only, from its own graph.

The float file computes what the imported one does; int8 is static quantization by onnxruntime, calibrated and verified
as for every other network. There is no fine-tuning, and no TFLite.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from feredge import data, files
from feredge.data.dataset import Dataset
from feredge.errors import ArtifactError, RecipeError
from feredge.export import calibration, replacement
from feredge.export.accuracy_bound import ConvertedModel, quantize_within_bound
from feredge.export.conversion import NetworkSize, write_files
from feredge.export.conversion_job import ConversionJob
from feredge.export.exporter import PACKAGE_NAMES, to_manifest
from feredge.export.passes import DENSE_VARIANT, Target, weight_quantization_of
from feredge.importing.network import NetworkInput, check_classes
from feredge.importing.onnx.contract_graph import as_core_graph
from feredge.importing.onnx.file import simplify
from feredge.importing.onnx.original import run_onnx
from feredge.inference.artifact import FORMAT_PRECISIONS, Card, Failure, Manifest
from feredge.inference.contract import Images, InputContract
from feredge.inspection import weights
from feredge.inspection.child import ChildProcess
from feredge.inspection.limits import Limits
from feredge.inspection.probes import add_probes
from feredge.recipes.schema import DataView, Export
from feredge.train.auto import is_of_faces

CONVERSION_LIMITS = Limits(wall_seconds=1800.0, cpu_seconds=3600, memory_bytes=16 << 30)
"""Of the process that runs an untrusted graph on calibration and verification images."""
ONNX_ONLY = "the network has operators without a Keras layer, and is exported as ONNX only"
CALIBRATION_FILE, IMAGES_FILE, CARDS_FILE, RESULT_FOLDER = "calibration.npz", "images.npy", "cards.json", "artifacts"
ONNX_FILES = tuple(f"{precision}.onnx" for precision in FORMAT_PRECISIONS["onnx"])


def export_untranslated(
    path: Path,
    network_input: NetworkInput,
    classes: tuple[str, ...],
    dataset: Dataset,
    folder: Path,
    *,
    settings: Export,
    output: str = "",
) -> Manifest:
    """Write an ONNX network as ONNX files to `folder`, each verified against the file in onnxruntime.

    Args:
        path: the file, which has passed its audit.
        network_input: its input.
        classes: of its outputs, in their order.
        dataset: for calibration and verification, of the network's input size.
        folder: for the files and their manifest; it is replaced when all are written.
        settings: calibration and files; those of other formats are listed as failures in the manifest.
        output: name of the output; required of a file that has several.

    Raises:
        RecipeError: no ONNX files in `settings`, settings that need a Keras network, or classes that do not match.
        ArtifactError: a graph that cannot be put behind the input contract.
        VerificationError: every file failed.
    """
    names = [file for file in settings.files if file in ONNX_FILES]
    if not names or settings.keep_float or settings.max_drop or settings.temperature_scaling:
        raise RecipeError(
            f"{path.name}: a network that stays in ONNX is exported as {', '.join(ONNX_FILES)}, "
            "without --keep-float, --max-drop and --temperature-scaling"
        )
    channels = dataset.images.shape[-1]
    view = DataView(size=network_input.height, classes=() if classes == dataset.classes else classes, channels=channels)
    splits = data.split(dataset, view)
    first, second = calibration.calibration_sets(splits, settings.calibration_images, seed=view.seed)
    images = calibration.verification_images(splits, seed=view.seed)
    cards = _cards(path, network_input, splits.test.classes, dataset, settings, names)
    new = replacement.new_folder(folder)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            np.savez(work / CALIBRATION_FILE, first=first, second=second)
            np.save(work / IMAGES_FILE, images)
            files.write_json(work / CARDS_FILE, {name: card.to_json() for name, card in cards.items()})
            with ChildProcess(CONVERSION_LIMITS, writable=work) as child:
                child.call(
                    _convert,
                    path,
                    path=path.absolute(),
                    work=work,
                    network_input=dataclasses.asdict(network_input),
                    output=output,
                    settings=dataclasses.asdict(settings),
                )
            for written in (work / RESULT_FOLDER).iterdir():
                shutil.copy2(written, new / written.name)
        manifest = Manifest.read(new)
        replacement.swap(folder)
    except BaseException:
        replacement.discard(folder)
        raise
    return manifest


def _cards(
    path: Path,
    network_input: NetworkInput,
    classes: tuple[str, ...],
    dataset: Dataset,
    settings: Export,
    names: list[str],
) -> dict[str, Card]:
    digest = files.sha256(path)
    foreign = {"file": path.name, "sha256": digest, "input": dataclasses.asdict(network_input)}
    licence = settings.licence or f"Converted by feredge from {path.name}, which its makers' licence still governs."
    versions = {package: version(package) for package in PACKAGE_NAMES}
    contract = InputContract(network_input.height, network_input.width, dataset.images.shape[-1])
    recipe = {"name": path.stem, "foreign": foreign}
    source = {"weights": digest, "calibration": dataset.digest}
    return {
        f"dense.{name}": Card(
            "dense",
            name.split(".")[0],
            classes,
            contract,
            recipe,
            source,
            versions,
            licence,
            faces=is_of_faces(classes),
        )
        for name in names
    }


def _convert(path: str, work: str, network_input: dict[str, Any], output: str, settings: dict[str, Any]) -> None:
    """Write all files and their manifest to a folder in `work`; in a child process."""
    import onnx

    folder, simplified = Path(work, RESULT_FOLDER), Path(work, "simplified.onnx")
    folder.mkdir()
    low, high = (_as_tuple(network_input[name]) for name in ("low", "high"))
    calibration_arrays = files.read_npz(Path(work, CALIBRATION_FILE))
    images = np.load(Path(work, IMAGES_FILE))
    rows = run_onnx(path, str(Path(work, IMAGES_FILE)), low, high, output)["rows"]
    height, width = network_input["height"], network_input["width"]
    simplify(Path(path), simplified, height=height, width=width, output=output)
    graph, reference = as_core_graph(
        onnx.load(simplified), np.asarray(rows, np.float32), channels=images.shape[-1], low=low, high=high
    )
    cards = {
        name: Card.from_json(card, where=name)
        for name, card in json.loads(Path(work, CARDS_FILE).read_text(encoding="utf-8")).items()
    }
    check_classes(next(iter(cards.values())).classes, reference.shape[1], Path(path))
    _check_batch(graph, images, path)
    export = Export(**{key: _as_tuple(value) for key, value in settings.items()})
    first, second = (calibration_arrays[name] for name in ("first", "second"))
    job = ConversionJob(Path(work), folder, export, cards, first, second, images, None)
    result = write_files(job, lambda card: _to_precision(graph, card, job), reference, _size(graph, work))
    manifest = to_manifest(result, cards)
    refused = [Failure(f"dense.{file}", ONNX_ONLY) for file in export.files if file not in ONNX_FILES]
    add_probes(folder, dataclasses.replace(manifest, failures=(*manifest.failures, *refused)))


def _as_tuple(value: Any) -> Any:
    """Return a list, as JSON has it, as a tuple; other values as they are."""
    return tuple(value) if isinstance(value, list) else value


def _to_precision(graph: Any, card: Card, job: ConversionJob) -> ConvertedModel:
    from feredge.export.onnx.converter import at_precision
    from feredge.export.onnx.int8 import Int8Onnx

    quantization = weight_quantization_of(Target(DENSE_VARIANT, card.precision, "onnx"))
    if card.precision != "int8":
        model = at_precision(graph, card.precision, weight_quantization=quantization)
        return ConvertedModel(bytes(model.SerializeToString(deterministic=True)))
    method, reduce_range = job.settings.calibration_method, job.settings.reduce_range

    def calibrate(images: Images) -> Int8Onnx:
        return Int8Onnx(graph, images, method=method, reduce_range=reduce_range, weight_quantization=quantization)

    return quantize_within_bound(calibrate, job, None)


def _check_batch(graph: Any, images: Any, path: str) -> None:
    """Raise ArtifactError for a graph that computes several images otherwise than one, or not at all."""
    from feredge.inference.runtimes import onnx_session

    session = onnx_session(graph.SerializeToString(), threads=1)
    pixels = images[:2].astype(np.float32) / np.float32(255)
    try:
        session.run(None, {session.get_inputs()[0].name: pixels})
    except Exception as error:  # onnxruntime's errors have no common class
        raise ArtifactError(
            f"{path}: expected a network for any number of images, found one whose shapes are those of one image"
        ) from error


def _size(graph: Any, work: str) -> NetworkSize:
    """Return the numbers of weights and multiply-adds of a graph."""
    import onnx
    from onnx import numpy_helper

    from feredge.inspection import macs

    path = Path(work, "core.onnx")
    onnx.save(graph, path)
    kernels = sum(kernel.size for kernel in weights.read(path).kernels.values())
    floats = [tensor for tensor in graph.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    parameters = sum(numpy_helper.to_array(tensor).size for tensor in floats)
    counted = macs.count(path)
    return NetworkSize(kernels, parameters, counted.floating if counted else 0)
