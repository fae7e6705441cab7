"""Runners: one class per runtime with `predict(batch)`. Native libraries are imported on first use."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError, NoCardError, one_line
from feredge.inference.artifact import MANIFEST_FILE, MIRROR_VARIANT, Card, Entry, Manifest, check_digest
from feredge.inference.contract import Images
from feredge.inference.embedded_card import read_card
from feredge.inference.model_paths import exported_folder, locate
from feredge.inference.shared_library import SHARED_LIBRARY_SUFFIX, SharedLibraryRunner, open_shared_library
from feredge.inference.tflite import TFLiteGraph, import_litert, litert_interpreter

if TYPE_CHECKING:
    from feredge.inference.foreign import CardlessRunner, ForeignModel

Probabilities = NDArray[np.float32]

DEFAULT_MODEL = Path(__file__).parents[1] / "models" / "nano.int8.onnx"
"""The default network, part of the package."""


class Runner(Protocol):
    """A loaded model that maps a batch of images to class probabilities.

    Attributes:
        card: the metadata in the file: class names, input contract, precision, recipe, digests.
    """

    card: Card

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`."""
        ...


class OnnxRunner:
    """An `.onnx` or `.ort` file in onnxruntime."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 1,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        optimize: bool = True,
    ) -> None:
        self.card = read_card(path)
        self.path = path
        try:
            self._session = onnx_session(str(path), threads=threads, providers=providers, optimize=optimize)
            self._input = self._session.get_inputs()[0].name
            self._outputs = [self._session.get_outputs()[0].name]
        except ArtifactError:
            raise
        except Exception as error:  # onnxruntime raises bare pybind types, one per status code
            raise ArtifactError(f"{path}: onnxruntime cannot load it ({one_line(error)})") from error

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`."""
        try:
            return self._session.run(self._outputs, {self._input: batch})[0]  # type: ignore[no-any-return]
        except Exception as error:
            raise ArtifactError(
                f"{self.path}: onnxruntime failed on a batch of shape {batch.shape} ({one_line(error)})"
            ) from error


class LiteRTRunner:
    """A `.tflite` file in LiteRT, with the XNNPACK delegate or, without `xnnpack`, the built-in kernels."""

    def __init__(self, path: Path, *, threads: int = 1, xnnpack: bool = True) -> None:
        import_litert(path)  # a missing package is reported before a bad file
        self.card = read_card(path)
        self.path = path
        self._lock = threading.Lock()
        try:
            self._graph = TFLiteGraph(litert_interpreter(path, threads=threads, xnnpack=xnnpack))
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(f"{path}: LiteRT cannot load it ({one_line(error)})") from error

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`; integer outputs are dequantized."""
        with self._lock:  # an interpreter has one input and one output tensor
            try:
                return self._graph.run(batch)
            except (ValueError, RuntimeError) as error:
                raise ArtifactError(
                    f"{self.path}: LiteRT failed on a batch of shape {batch.shape} ({one_line(error)})"
                ) from error


class OpenCVRunner:
    """An `.onnx` file in OpenCV's DNN module, which takes float32 inputs and has int8 kernels of its own."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
        import cv2

        card = read_card(path)
        if (card.variant, card.precision) == (MIRROR_VARIANT, "int8"):  # its kernels get a batch of two views
            raise ArtifactError(f"{path.name}: OpenCV's int8 kernels have wrong outputs for a mirror variant")
        cv2.setNumThreads(threads)
        self._error = cv2.error
        try:
            self._net: Any = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise ArtifactError(f"{path.name}: OpenCV cannot read it ({_last_line(error)})") from error

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`."""
        rows: list[NDArray[Any]] = []
        for image in batch:  # batch 1: int8 results are wrong and not deterministic for larger batches
            try:
                self._net.setInput(image[None].astype(np.float32))
                rows.append(self._net.forward().reshape(-1))
            except self._error as error:
                raise ArtifactError(f"OpenCV failed on a batch of shape {batch.shape} ({_last_line(error)})") from error
        return np.stack(rows).astype(np.float32)


def _last_line(error: BaseException) -> str:
    """Return the last line of OpenCV's message, which names the reason."""
    lines = str(error).strip().splitlines()
    return lines[-1][:200] if lines else type(error).__name__


def available_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    # macOS and Windows have no sched_getaffinity
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def onnx_session(
    model: str | bytes,
    *,
    threads: int,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    optimize: bool = True,
) -> Any:
    """Open a file, or its bytes, in onnxruntime, whose own exceptions are passed on.

    Raises:
        ArtifactError: unavailable providers.
    """
    # onnxruntime sends telemetry by default; only this variable, set before the import, prevents it.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    missing = set(providers) - set(onnxruntime.get_available_providers())
    if missing:  # onnxruntime would only warn, and use another provider
        raise ArtifactError(
            f"expected available providers ({', '.join(onnxruntime.get_available_providers())}), "
            f"found {', '.join(sorted(missing))}"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=list(providers))


def open_artifact(
    path: str | os.PathLike[str], *, threads: int = 1, providers: Sequence[str] = ("CPUExecutionProvider",)
) -> OnnxRunner | LiteRTRunner | SharedLibraryRunner:
    """Load a model file in the runtime for its suffix. `providers` are onnxruntime's.

    A `.c` file is compiled, after a check that its code is what feredge generates from the model in it.

    Raises:
        ArtifactError: a missing or damaged file, an unknown suffix, or a file without feredge's metadata.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"{path}: expected a model file, found none")
    if path.suffix == ".tflite":
        return LiteRTRunner(path, threads=threads)
    if path.suffix in (".onnx", ".ort"):
        return OnnxRunner(path, threads=threads, providers=providers)
    if path.suffix == ".c":
        opener = importlib.import_module("feredge.export.c.runner")  # by name: the device side imports no export
        return opener.open_c_library(path)  # type: ignore[no-any-return]
    raise ArtifactError(f"{path}: expected .onnx, .ort, .tflite or .c, found {path.suffix or 'no suffix'}")


def open_model(
    path: Path,
    *,
    threads: int = 1,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    foreign: ForeignModel | None = None,
) -> OnnxRunner | LiteRTRunner | SharedLibraryRunner | CardlessRunner:
    """Load a file with a card, or one without of which `foreign` says what the card would.

    A `.so` file is native code: see `open_shared_library`.

    Raises:
        ArtifactError: see `open_artifact`, `open_shared_library` and `open_without_card`.
    """
    if path.suffix == SHARED_LIBRARY_SUFFIX:
        return open_shared_library(path)
    if foreign is None:
        return open_artifact(path, threads=threads, providers=providers)
    from feredge.inference.foreign import open_without_card

    return open_without_card(path, foreign, threads=threads, providers=providers)


def open_checked(
    model: str | os.PathLike[str] | None,
    *,
    threads: int = 1,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    foreign: ForeignModel | None = None,
) -> OnnxRunner | LiteRTRunner | SharedLibraryRunner | CardlessRunner:
    """Open the model found by `find_model`, and check its outputs on one gray picture.

    Args:
        model: see `find_model`.
        threads: CPU threads.
        providers: onnxruntime's.
        foreign: classes and input of a file without a card.

    Raises:
        ArtifactError: a missing or damaged model, one that does not match its manifest, or one whose outputs do not
            match its metadata: another number of classes, logits instead of probabilities, NaN.
    """
    path = find_model(model)
    try:
        runner = open_model(path, threads=threads, providers=providers, foreign=foreign)
    except NoCardError as error:
        raise NoCardError(
            f"{error}; of a file that feredge did not write give the classes and the input range"
        ) from error
    entry = _find_entry(path)
    if entry is not None and entry.card != runner.card:
        raise ArtifactError(f"{path}: expected the metadata in {MANIFEST_FILE}, found other metadata in the file")
    contract, classes = runner.card.contract, len(runner.card.classes)
    probabilities = runner.predict(np.full((1, *contract.shape), 128, np.uint8))
    if probabilities.shape != (1, classes) or probabilities.dtype != np.float32:
        raise ArtifactError(
            f"{path}: expected output float32 (1, {classes}) according to its metadata, "
            f"found {probabilities.dtype} {probabilities.shape}"
        )
    # 0.05: integer probabilities are multiples of 1/256, and each class may be off by half a step
    if not (probabilities.min() >= 0 and abs(float(probabilities.sum()) - 1) <= 0.05):
        raise ArtifactError(f"{path}: expected probabilities that sum to 1, found {probabilities[0].tolist()!s:.80}")
    return runner


def find_model(model: str | os.PathLike[str] | None) -> Path:
    """Resolve `model` to a model file, and check it against the manifest in its folder, if there is one.

    First completes an interrupted replacement of an export.

    Args:
        model: a file; a folder with a manifest or a run folder, from which an ONNX file is preferred to TFLite, then
            int8 to other precisions, and no compiled library is taken; the name of a reference model if no such path
            exists; None for the default network.

    Raises:
        ArtifactError: no such file, no manifest in the folder, or a file that does not match its manifest.
    """
    target = DEFAULT_MODEL if model is None else Path(model)
    path = locate(target)
    if path is None:
        missing = "which is part of an installed feredge" if model is None else "or a name of `feredge models`"
        raise ArtifactError(f"{target}: expected a model file, {missing}")
    if path.is_dir():
        folder = exported_folder(path) or path
        entries = sorted(Manifest.read(folder, check=False).entries, key=_preference)
        entries = [entry for entry in entries if Path(entry.file).suffix != SHARED_LIBRARY_SUFFIX]
        if not entries:
            raise ArtifactError(f"{folder / MANIFEST_FILE}: expected artifacts, found none")
        path = folder / entries[0].file
    if not path.is_file():
        raise ArtifactError(f"{path}: expected a model file, found none")
    entry = _find_entry(path)
    if entry is not None:
        check_digest(path, entry.sha256)
    return path


def _find_entry(path: Path) -> Entry | None:
    """Return a file's entry in the manifest of its folder; None without a manifest."""
    if not (path.parent / MANIFEST_FILE).is_file():
        return None
    for entry in Manifest.read(path.parent, check=False).entries:
        if entry.file == path.name:
            return entry
    raise ArtifactError(f"{path}: expected a file listed in {MANIFEST_FILE}, found one that is not")


_PRECISION_PREFERENCE = ("int8", "dynamic-int8", "float16", "int16x8", "float32")


def _preference(entry: Entry) -> tuple[int, int]:
    return {"tflite": 1, "c": 2}.get(entry.format, 0), _PRECISION_PREFERENCE.index(entry.card.precision)
