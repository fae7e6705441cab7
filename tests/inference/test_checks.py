"""Model files that nobody vouches for: what the checks let pass runs or is refused, and no native code is crashed."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from device_models import card, save_onnx, write_onnx, write_tflite
from hypothesis import given, settings
from hypothesis import strategies as st

from feredge.errors import ArtifactError, FeredgeError
from feredge.inference.artifact import CARD_KEY, MANIFEST_LIMIT, Manifest
from feredge.inference.embedded_card import CARD_FILE, CARD_LIMIT, DIGEST_FILE, append_tflite_card, read_card
from feredge.inference.onnx_check import check_onnx, read_onnx
from feredge.inference.ort_check import check_ort
from feredge.inference.runtimes import LiteRTRunner
from feredge.inference.tflite_check import check_tflite
from feredge.inspection.child import ChildProcess

MODELS = Path(__file__).parents[2] / "models"


def flatbuffer(path: Path) -> bytes:
    """Return a `.tflite` file without the archive behind it."""
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return data[: min(item.header_offset for item in archive.infolist())]


INT8 = flatbuffer(MODELS / "nano" / "dense.int8.tflite")
INT8_CARD = read_card(MODELS / "nano" / "dense.int8.tflite")


def run_twice(path: str) -> str:
    """Open a `.tflite` file with both sets of kernels and run a picture; in a child, which it may crash."""
    import numpy as np

    try:
        for xnnpack in (True, False):
            LiteRTRunner(Path(path), xnnpack=xnnpack).predict(np.zeros((1, 48, 48, 1), np.uint8))
    except FeredgeError as error:
        return f"refused: {error}"
    return "ran"


def test_every_reference_model_passes() -> None:
    """Guards good files against a check that is too strict."""
    paths = [path for kind in ("tflite", "onnx", "ort") for path in MODELS.glob(f"*/*.{kind}")]
    assert len(paths) >= 15
    for path in paths:
        assert len(read_card(path).classes) == 7


def test_damaged_flatbuffers_with_a_right_digest_never_crash(tmp_path: Path) -> None:
    """Guards the process: anybody can write a digest, and LiteRT follows every offset of a file that has one."""
    path = tmp_path / "m.tflite"
    tables = len(INT8) - 12_000  # the last bytes are tables and names, those before mostly weights
    values = st.one_of(st.integers(0, 64), st.integers(0, 2**32 - 1))
    with ChildProcess() as child:

        @settings(deadline=None)  # a child that starts takes its time
        @given(st.lists(st.tuples(st.integers(tables, len(INT8) - 4), values), min_size=1, max_size=3))
        def damage(changes: list[tuple[int, int]]) -> None:
            model = bytearray(INT8)
            for at, value in changes:
                model[at & ~3 : (at & ~3) + 4] = value.to_bytes(4, "little")
            path.write_bytes(append_tflite_card(bytes(model), INT8_CARD))
            try:
                read_card(path)
            except ArtifactError as error:
                assert "\n" not in str(error) and str(path) in str(error)
                return
            assert child.call(run_twice, path, path=path)

        damage()


@given(st.integers(0, len(INT8)), st.binary(max_size=8))
def test_cut_and_overwritten_bytes_are_one_kind_of_error(at: int, noise: bytes) -> None:
    """Guards against any other exception than the one that callers know."""
    for model in (INT8[:at], INT8[:at] + noise + INT8[at + len(noise) :]):
        with suppress(ArtifactError):
            check_tflite(model)


@given(st.binary(max_size=200))
def test_noise_is_no_model(noise: bytes) -> None:
    """Guards the readers against endless and unbounded reads of bytes that say anything."""
    for check, start in ((check_tflite, b"\x20\0\0\0TFL3"), (check_ort, b"\x20\0\0\0ORTM"), (read_onnx, b"")):
        with pytest.raises(ArtifactError):
            check(start + noise)
            raise ArtifactError("noise that happens to be an empty graph")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "Loop"}, "without control flow, found Loop"),
        ({"domain": "evil.custom"}, "found 'Evil' of 'evil.custom'"),
        ({"location": "../secret.bin"}, "some in another file, '../secret.bin'"),
    ],
)
def test_onnx_files_that_reach_further_than_their_graph(tmp_path: Path, change: dict[str, str], words: str) -> None:
    """Guards against a file that runs for ever, names code of others, or reads other files as weights."""
    import onnx
    from onnx import TensorProto, helper

    path = write_onnx(tmp_path / "m.onnx", with_card=card())
    model = onnx.load(path)
    if "name" in change:
        body = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "body", [], [])
        model.graph.node.append(helper.make_node(change["name"], ["n", "c"], ["z"], body=body))
    elif "domain" in change:
        model.graph.node.append(helper.make_node("Evil", ["x"], ["z"], domain=change["domain"]))
    else:
        tensor = model.graph.initializer[0]
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=change["location"])
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match=words):
        read_card(path)


def test_a_graph_inside_of_a_node_is_refused_whatever_its_operator(tmp_path: Path) -> None:
    """Guards the list of operators: one that is not on it may still carry a graph."""
    from onnx import TensorProto, helper

    body = helper.make_graph([helper.make_node("If", ["a"], ["b"])], "body", [], [])
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    path = save_onnx(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"], body=body)], value, value, {})
    contents = read_onnx(path.read_bytes())
    assert contents.subgraphs and ("", "If") in contents.operators
    with pytest.raises(ArtifactError, match="If"):
        check_onnx(contents)


def test_a_card_that_unpacks_to_more_than_a_card_is_refused(tmp_path: Path) -> None:
    """Guards memory: 14 MB in an archive can unpack to 3 GB."""
    path = tmp_path / "m.tflite"
    path.write_bytes(INT8)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CARD_FILE, b" " * (CARD_LIMIT + 1))
        archive.writestr(DIGEST_FILE, "0")
    with pytest.raises(ArtifactError, match="of at most 1,048,576 bytes, found 1,048,577"):
        read_card(path)


def test_metadata_and_manifests_are_bounded(tmp_path: Path) -> None:
    """Guards memory against the same in an ONNX file and in a folder."""
    import onnx

    path = write_onnx(tmp_path / "m.onnx", with_card=card())
    model = onnx.load(path)
    model.metadata_props.add(key=f"{CARD_KEY}2", value=" " * (CARD_LIMIT + 1))
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match="metadata of at most 1,048,576 bytes"):
        read_card(path)
    (tmp_path / "manifest.json").write_text(" " * (MANIFEST_LIMIT + 1))
    with pytest.raises(ArtifactError, match="a manifest of at most"):
        Manifest.read(tmp_path)


def test_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """Guards readers behind the check, which decode names, against a traceback."""
    path = write_tflite(tmp_path / "m.tflite", with_card=card())
    model = flatbuffer(path).replace(b"logits", b"log\xffts")
    path.write_bytes(append_tflite_card(model, card()))
    with pytest.raises(ArtifactError, match="expected a text in UTF-8"):
        read_card(path)
