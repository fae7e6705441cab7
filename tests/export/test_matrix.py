"""Every precision and format of one tiny network, and int8 with some layers left in float."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_export import SMALL, one_thread, with_recipe
from tiny_training import stripes

from feredge import data, files
from feredge.compress import batch_norms, variants
from feredge.errors import ArtifactError, RecipeError, VerificationError
from feredge.export import accuracy_bound, exporter, layer_error, parity, quantizer
from feredge.export.accuracy_bound import quantize_within_bound
from feredge.export.layer_error import quantization_noise
from feredge.export.onnx import converter
from feredge.export.onnx.int8 import Int8Onnx
from feredge.export.onnx.ort import to_ort
from feredge.export.tflite import int8
from feredge.export.tflite.converter import to_tflite
from feredge.export.tflite.int8 import Int8TFLite
from feredge.export.tflite.metadata import FILE_IDENTIFIER, METADATA_ENTRY, TABLE_FIELDS, TENSOR_AXIS_LABELS
from feredge.inference.artifact import Manifest
from feredge.inference.runtimes import open_artifact
from feredge.inspection import flatbuffer, weights
from feredge.recipes.schema import Export
from feredge.run import RunFolder
from feredge.train import networks as float_networks
from feredge.train.networks import make_predict_function

IMAGES = stripes(70, seed=5).images
CALIBRATION = stripes().images[:96].copy()
CALIBRATION[0, 0, 0], CALIBRATION[0, 0, 1] = 0, 255
Networks = dict[str, quantizer.CalibratedModel]

EXTRA_FILES = ("float16.onnx", "int16x8.tflite", "float32.ort", "int8.ort", "int8.tflite")


@pytest.fixture(scope="module")
def matrix(trained: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Manifest]:
    """Give the files that no recipe writes by default, and a TFLite file with a layer in float."""
    run = with_recipe(trained, tmp_path_factory.mktemp("matrix") / "run", SMALL)
    settings = Export(EXTRA_FILES, calibration_images=64, keep_float=("stem_conv",), calibration_method="percentile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "process_pool", one_thread)
        return run, exporter.export(run, stripes(), settings=settings, variants=("dense",))


@pytest.fixture(scope="module")
def core(trained: RunFolder) -> Any:
    """Give the tiny float network."""
    return variants.open_core(trained, "dense", weights=trained.training_record()["weights"])


@pytest.fixture(scope="module")
def graph(core: Any) -> Any:
    """Give the same as ONNX."""
    return converter.core_graph(core, opset=17)


@pytest.fixture(scope="module")
def networks(core: Any, graph: Any) -> Networks:
    """Give the same calibrated for both formats."""
    return {"onnx": Int8Onnx(graph, CALIBRATION), "tflite": Int8TFLite(core, CALIBRATION)}


def test_every_file_stands_with_its_facts(matrix: tuple[RunFolder, Manifest]) -> None:
    """Guards the whole matrix: each file runs, says what it is, and can be asked what loads it."""
    run, manifest = matrix
    assert [entry.file for entry in manifest.entries] == [f"dense.{name}" for name in EXTRA_FILES]
    for entry in manifest.entries:
        runner = open_artifact(run.artifacts / entry.file)
        assert runner.card == entry.card and runner.predict(IMAGES).shape == (70, 7)
        assert entry.facts["parameters"] > 0 < entry.facts["multiply_adds"]
        assert 0 < entry.facts["gzip_bytes"] < entry.bytes and "." in entry.facts["oldest_runtime"]
        assert entry.verification["kl"] >= 0 and abs(entry.verification["confidence_drift"]) < 0.1
        assert entry.card.float_layers == (("stem_conv",) if entry.card.precision == "int8" else ())
    by_name = {entry.file: entry.verification for entry in manifest.entries}
    assert (
        by_name["dense.int8.ort"]["calibration_agreement"] > 0.9 and by_name["dense.int8.ort"]["method"] == "percentile"
    )


def test_kernels_are_stored_as_the_precision_says(matrix: tuple[RunFolder, Manifest]) -> None:
    """Guards half-precision and int16x8 files that are not, and the one layer that was to stay in float."""
    kinds = {name: weights.read(matrix[0].artifacts / f"dense.{name}").kernels for name in EXTRA_FILES}
    assert {kernel.dtype for kernel in kinds["float16.onnx"].values()} == {np.dtype(np.float16)}
    assert {kernel.dtype for kernel in kinds["int16x8.tflite"].values()} == {np.dtype(np.int8)}
    for name in ("int8.ort", "int8.tflite"):
        floats = [kernel for kernel, values in kinds[name].items() if values.dtype == np.float32]
        assert len(floats) == 1 and "stem_conv" in floats[0]


def test_runtimes_are_compared(matrix: tuple[RunFolder, Manifest]) -> None:
    """Guards the matrix of runtimes: each that can run a file answers as its float network does."""
    files_parity = json.loads((matrix[0].artifacts / "runtimes.json").read_text())["artifacts"]
    assert set(files_parity["dense.float16.onnx"]) == {"onnxruntime", "onnxruntime-unoptimised", "opencv-dnn"}
    assert set(files_parity["dense.int8.tflite"]) == {"litert", "litert-without-xnnpack", "tensorflow"}
    for file, answers in files_parity.items():
        for runtime, figures in answers.items():
            assert figures.get("agreement", 0.0) > 0.8, (file, runtime, figures)
    operators = (matrix[0].artifacts / "operators.config").read_text()
    assert "Softmax" in operators and all(line.count(";") == 2 for line in operators.splitlines())


def test_a_runtime_that_cannot_run_a_file_says_why(tmp_path: Path) -> None:
    """Guards the export against a runtime's own error: it is a finding there, and the other runtimes are asked too."""
    files.write_bytes(tmp_path / "x.onnx", b"nothing of the kind")
    results = parity.compare(tmp_path / "x.onnx", IMAGES, np.eye(7, dtype=np.float32)[stripes(70, seed=5).labels])
    assert len(results) == 3 and all(list(figures) == ["failed"] and figures["failed"] for figures in results.values())


def _read_metadata(model: bytes) -> dict[str, Any]:
    """Return what Android's readers would: name, description, licence, and the label file of the output."""
    import flatbuffers
    from flatbuffers import number_types as numbers
    from flatbuffers.table import Table

    parsed = flatbuffer.parse(model)
    (entry,) = [item for item in parsed.metadata if item.name == METADATA_ENTRY]
    data = bytes(bytearray(parsed.buffers[entry.buffer].data))
    assert flatbuffers.util.BufferHasIdentifier(data, 0, FILE_IDENTIFIER)

    def field(table: Any, kind: str, name: str) -> int:
        return int(table.Offset(4 + 2 * TABLE_FIELDS[kind].index(name)))

    def text(table: Any, kind: str, name: str) -> str:
        at = field(table, kind, name)
        return table.String(at + table.Pos).decode() if at else ""

    def first(table: Any, kind: str, name: str) -> Any:
        at = field(table, kind, name)
        return Table(data, table.Indirect(table.Vector(at))) if at else None

    root = Table(data, flatbuffers.encode.Get(numbers.UOffsetTFlags.packer_type, data, 0))
    output = first(first(root, "model", "subgraphs"), "subgraph", "outputs")
    labels = first(output, "tensor", "files")
    kind = field(labels, "file", "type")
    return {
        "name": text(root, "model", "name"),
        "description": text(root, "model", "description"),
        "licence": text(root, "model", "license"),
        "labels": text(labels, "file", "name"),
        "labels_of_axis": bool(kind) and labels.Get(numbers.Int8Flags, kind + labels.Pos) == TENSOR_AXIS_LABELS,
    }


def test_android_finds_the_labels(matrix: tuple[RunFolder, Manifest]) -> None:
    """Guards TensorFlow Lite's metadata: name, licence, and the label file of the output's axis."""
    model = (matrix[0].artifacts / "dense.int8.tflite").read_bytes()
    metadata = _read_metadata(model)
    assert metadata["labels"] == "labels.txt" and metadata["labels_of_axis"] and metadata["name"] == "tiny dense int8"
    assert "MIT" in metadata["licence"] and _read_metadata(flatbuffer.pack(flatbuffer.parse(model))) == metadata


def test_ort_files_are_the_same_in_every_process(matrix: tuple[RunFolder, Manifest], tmp_path: Path) -> None:
    """Guards the list that onnxruntime writes in the order of a hash table, another one in each process."""
    source = matrix[0].artifacts / "dense.float16.onnx"
    script = "import sys; from pathlib import Path; from feredge.export.onnx.ort import to_ort\n"
    script += "sys.stdout.buffer.write(to_ort(Path(sys.argv[1]).read_bytes()))"
    done = subprocess.run([sys.executable, "-c", script, str(source)], capture_output=True, check=True)
    assert done.stdout == to_ort(source.read_bytes())


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_layers_are_ranked_and_float_ones_lose_nothing(networks: Networks, kind: str) -> None:
    """Guards the table, worst first, and that a layer left in float takes its error out of the file."""
    network = networks[kind]
    rows = layer_error.layer_error_rows(network, IMAGES[:16])
    assert {row["layer"] for row in rows} == set(network.layers) and "stem_conv" in network.layers
    assert [row["alone_mse"] for row in rows] == sorted((row["alone_mse"] for row in rows), reverse=True)
    exact = quantizer.predict(network.quantize(network.layers), IMAGES)
    whole = quantization_noise(exact, quantizer.predict(network.quantize(), IMAGES))[0]
    eased = quantization_noise(exact, quantizer.predict(network.quantize([row["layer"] for row in rows[:4]]), IMAGES))[
        0
    ]
    assert eased < whole


def _job(**settings: Any) -> Any:
    validation = stripes(70, seed=5)
    images = data.split(stripes(), SMALL.data).train.images[:64]
    return SimpleNamespace(
        settings=Export(**settings),
        calibration_images=images,
        second_calibration_images=images[:0],
        verification_images=IMAGES,
        validation=(validation.images, validation.labels),
    )


class Worse:
    """A network of three layers; each one in int8 takes as many of 70 hits as its place says."""

    layers = ("a", "b", "c")

    def quantize(self, keep_float: Any = ()) -> bytes:
        """Name what is lost."""
        return bytes([sum(3**place for place, layer in enumerate(self.layers) if layer not in keep_float)])


@pytest.fixture
def worse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let answers be wrong on as many images as a model of Worse says."""
    rows = np.eye(7, dtype=np.float32)[stripes(70, seed=5).labels]

    def predict(model: bytes, images: Any) -> Any:
        outputs = rows[: len(images)].copy()
        outputs[: model[0]] = np.roll(outputs[: model[0]], 1, axis=1)
        return outputs

    monkeypatch.setattr(accuracy_bound, "predict", predict)
    monkeypatch.setattr(layer_error, "predict", predict)
    monkeypatch.setattr(float_networks, "make_predict_function", lambda core: lambda images: rows[: len(images)])


def test_the_worst_layers_go_back_until_the_drop_is_within_the_bound(worse: None) -> None:
    """Guards --max-drop: in the order of the damage, no more layers than needed, and it says which."""
    converted = quantize_within_bound(lambda images: Worse(), _job(max_drop=2.0), None)  # type: ignore[arg-type, return-value]  # a toy
    assert converted.float_layers == ("c", "b") and converted.metrics["validation_drop"] == pytest.approx(100 / 70)
    converted = quantize_within_bound(lambda images: Worse(), _job(max_drop=50.0), None)  # type: ignore[arg-type, return-value]  # a toy
    assert converted.float_layers == ()
    converted = quantize_within_bound(lambda images: Worse(), _job(keep_float=("b",), max_drop=50.0), None)  # type: ignore[arg-type, return-value]  # a toy
    assert converted.float_layers == ("b",)


def test_bounds_that_cannot_be_kept_and_unknown_layers_are_errors(worse: None) -> None:
    """Guards a gate that gives way: a file that was trained in int8 has no layer to put back."""
    with pytest.raises(VerificationError, match=r"at most 2 pp on the validation images, found 18\.57 pp"):
        accuracy_bound.check_trained_int8(bytes([13]), _job(max_drop=2.0), None)
    with pytest.raises(RecipeError, match="keep_float: the TFLite file of a qat variant was trained in int8"):
        accuracy_bound.check_trained_int8(bytes([1]), _job(keep_float=("a",)), None)
    with pytest.raises(RecipeError, match="unknown layer 'd'; known are a, b, c"):
        quantize_within_bound(lambda images: Worse(), _job(keep_float=("d",)), None)  # type: ignore[arg-type, return-value]  # a toy


@pytest.mark.parametrize("method", ["moving-average", "percentile", "entropy"])
def test_each_method_makes_files_that_agree(core: Any, graph: Any, networks: Networks, method: str) -> None:
    """Guards that the ranges reach the file in both formats: another one each time, and a good one."""
    exact = make_predict_function(core)(IMAGES)
    calibrated: Networks = {
        "onnx": Int8Onnx(graph, CALIBRATION, method=method),
        "tflite": Int8TFLite(core, CALIBRATION, method=method),
    }
    for kind, network in calibrated.items():
        rows = quantizer.predict(network.quantize(), IMAGES)
        assert (rows != quantizer.predict(networks[kind].quantize(), IMAGES)).any()
        assert (rows.argmax(axis=1) == exact.argmax(axis=1)).mean() > 0.9


def test_fewer_bits_for_kernels(graph: Any) -> None:
    """Guards against overflow on x86 CPUs without VNNI: two products fit in 16 bits with their sign; sums are kept."""
    reduced = onnx.load_from_string(Int8Onnx(graph, CALIBRATION[:8]).quantize()).graph
    kernels = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in reduced.initializer if tensor.name.endswith("_i")
    }
    kernels = {name: kernel for name, kernel in kernels.items() if kernel.ndim > 1}
    assert kernels and all(kernel.dtype == np.int8 and np.abs(kernel).max() == 64 for kernel in kernels.values())
    for tensor in graph.graph.initializer:
        exact = numpy_helper.to_array(tensor)
        if exact.ndim == 4:
            largest = np.abs(exact).max(axis=(1, 2, 3))
            sums = kernels[f"{tensor.name}_i"].sum(axis=(1, 2, 3)) * largest / 64
            # half a step, and what float32 adds
            assert (np.abs(sums - exact.sum(axis=(1, 2, 3))) <= largest / 64 * 0.51).all()


def _kernels(path: Path, model: bytes) -> dict[str, Any]:
    path.write_bytes(model)
    return weights.read(path).kernels


def _of_stem(kernels: dict[str, Any]) -> Any:
    """Return the values of the first layer's kernel, channel by channel whatever the format."""
    (kernel,) = (values for name, values in kernels.items() if "stem_conv" in name)
    return kernel.reshape(len(kernel), -1)


def test_layers_in_float_keep_their_own_weights(networks: Networks, core: Any, tmp_path: Path) -> None:
    """Guards keep_float against weights in float32 that are those of int8 all the same."""
    exact = core.get_layer("stem_conv").kernel.numpy().reshape(-1, core.get_layer("stem_conv").filters).T
    scale = batch_norms.fold_batchnorms(core).get_layer("stem_conv").kernel.numpy().reshape(exact.T.shape).T / exact
    for kind, network in networks.items():
        stored = _of_stem(_kernels(tmp_path / f"kept.{kind}", network.quantize(["stem_conv"])))
        # Normalization is folded into the kernel, by the converters in another order than here.
        np.testing.assert_allclose(stored, exact * scale, rtol=1e-5)


def test_small_kernels_of_dynamic_files_keep_their_own_weights(core: Any, graph: Any, tmp_path: Path) -> None:
    """Guards what is stored in float32 against being rounded to int8 first, and that large kernels are rounded."""
    onnx_file = converter.at_precision(graph, "dynamic-int8").SerializeToString()
    tflite_file = to_tflite(core, "dynamic-int8", calibration=CALIBRATION)
    exact = _of_stem(_kernels(tmp_path / "x.onnx", graph.SerializeToString()))
    # TFLite's converter folds the pixels' scale into the first kernel.
    for name, model, scale in (("d.onnx", onnx_file, 1), ("d.tflite", tflite_file, 255)):
        kernels = _kernels(tmp_path / name, model)
        np.testing.assert_allclose(_of_stem(kernels) * scale, exact, rtol=1e-5)  # as above
        assert {values.dtype for values in kernels.values()} == {np.dtype(np.int8), np.dtype(np.float32)}


def test_the_softmax_of_an_int8_file_reads_what_the_last_layer_computed(
    networks: Networks,
) -> None:
    """Guards against ties: logits in 256 steps gave two classes the same probability on one image in forty."""
    graph = onnx.load_from_string(networks["onnx"].quantize()).graph
    (softmax,) = (node for node in graph.node if node.op_type == "Softmax")
    (before,) = (node for node in graph.node if softmax.input[0] in node.output)
    assert before.op_type == "Gemm"
    used = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= used


def test_a_moving_average_goes_by_batches(core: Any) -> None:
    """Guards the method's meaning in both formats: single images' extremes are narrower than a batch's."""
    calibrated = int8._converter_calibrated(core, CALIBRATION[:8])
    sizes = [{len(values) for values in batch.values()} for batch in int8._activations(calibrated, CALIBRATION[:40])]
    assert sizes == [{32}, {8}]


def test_ranges_do_not_depend_on_the_number_of_threads(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the bytes of int8 files: images that run at the same time have the values that they have alone."""
    calibrated = int8._converter_calibrated(core, CALIBRATION[:1])
    batches = []
    for cores in (1, 2):
        monkeypatch.setattr(int8, "available_cores", lambda cores=cores: cores)
        batches.append(list(int8._activations(calibrated, CALIBRATION[:40])))
    for alone, parallel in zip(*batches, strict=True):
        assert list(alone) == list(parallel)
        for name, values in alone.items():
            np.testing.assert_array_equal(values, parallel[name])


def test_a_truncated_file_is_no_ort(tmp_path: Path) -> None:
    """Guards the reader of the format against other bytes."""
    from feredge.inspection.ort_format import read_ort

    files.write_bytes(tmp_path / "x.ort", b"nothing of the kind")
    with pytest.raises(ArtifactError, match="expected a model in ORT format"):
        read_ort(tmp_path / "x.ort")
