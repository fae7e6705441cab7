"""Verification: each way in which an exported file can be wrong is an error that names the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_training import stripes

from feredge.errors import VerificationError
from feredge.export import verification
from feredge.inference.artifact import CARD_KEY, Card, Manifest
from feredge.inference.contract import InputContract
from feredge.inference.embedded_card import parse_card
from feredge.inference.runtimes import open_artifact
from feredge.run import RunFolder

IMAGES = stripes(70, seed=5).images


def _rewrite(source: Path, path: Path, change: Callable[[Any], None]) -> tuple[Path, Card]:
    """Copy an ONNX file with `change` made to its model. Return the copy and the card inside it."""
    model = onnx.load(source)
    change(model)
    onnx.save(model, path)
    text = next(item.value for item in model.metadata_props if item.key == CARD_KEY)
    return path, parse_card(text, path.name)


def _set_constant(model: Any, name: str, change: Callable[[Any], Any]) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))
            return
    raise AssertionError(f"no constant {name}")


def _always_happy(model: Any) -> None:
    _set_constant(model, "logits/Add/1", lambda bias: bias + 100 * (np.arange(7) == 3).astype(np.float32))


def _not_a_number(model: Any) -> None:
    _set_constant(model, "logits/Add/1", lambda bias: bias * np.float32(np.nan))


def _logits(model: Any) -> None:
    last = model.graph.node[-1]
    last.op_type = "Identity"
    del last.attribute[:]


def _less_sure(model: Any) -> None:
    for name in ("logits/MatMul/1", "logits/Add/1"):
        _set_constant(model, name, lambda values: values * np.float32(0.5))


def _empty_kernel(model: Any) -> None:
    _set_constant(model, "stage2_block1_shortcut_conv/Conv/1", lambda kernel: kernel * 0)


def _half_weights(model: Any) -> None:
    _set_constant(model, "stem_conv/Conv/1", lambda kernel: kernel.astype(np.float16))
    cast = onnx.helper.make_node("Cast", ["stem_conv/Conv/1"], ["widened"], to=onnx.TensorProto.FLOAT)
    next(node for node in model.graph.node if node.name == "stem_conv/Conv").input[1] = "widened"
    model.graph.node.insert(0, cast)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_always_happy, "100% of 70 images called happy"),
        (_not_a_number, "finite"),
        (_logits, "sum to 1"),
        (_less_sure, "probabilities within"),
        (_empty_kernel, "nothing but zeros in stage2_block1_shortcut_conv"),
        (_half_weights, "expected float32 weights, found float16"),
    ],
)
def test_a_wrong_file_is_refused(
    exported: tuple[RunFolder, Manifest], tmp_path: Path, change: Callable[[Any], None], message: str
) -> None:
    """Guards against exports that only warn; the reference is what the untouched file answers."""
    good = exported[0].artifacts / "dense.float32.onnx"
    reference = open_artifact(good).predict(IMAGES)
    if change is _empty_kernel:  # a network whose own answers hardly need that kernel would pass the other checks
        reference = open_artifact(_rewrite(good, tmp_path / "same.onnx", change)[0]).predict(IMAGES)
    path, card = _rewrite(good, tmp_path / "bad.onnx", change)
    with pytest.raises(VerificationError, match=message) as caught:
        verification.verify(path, card, IMAGES, reference, name="dense.float32.onnx")
    assert str(caught.value).startswith("dense.float32.onnx: expected")


@pytest.mark.parametrize(
    ("file", "claim", "message"),
    [
        ("dense.float32.onnx", {"variant": "qat"}, "another inside the file"),
        ("dense.float32.onnx", {"variant": "pruned-60"}, "60% of the weights zero"),
        ("dense.float32.onnx", {"precision": "int8"}, "expected int8 weights, found float32"),
    ],
)
def test_a_file_must_be_what_its_card_says(
    exported: tuple[RunFolder, Manifest], tmp_path: Path, file: str, claim: dict[str, Any], message: str
) -> None:
    """Guards against int8 files that are not integer and pruned files that are not sparse."""
    source = exported[0].artifacts / file
    runner = open_artifact(source)
    card = dataclasses.replace(runner.card, **claim)
    path = source
    if "another" not in message:

        def claimed(model: Any) -> None:
            import json

            onnx.helper.set_model_props(model, {CARD_KEY: json.dumps(card.to_json())})

        path, _ = _rewrite(source, tmp_path / file, claimed)
    with pytest.raises(VerificationError, match=message):
        verification.verify(path, card, IMAGES, runner.predict(IMAGES), name=file)


def test_int8_takes_raw_pixels(exported: tuple[RunFolder, Manifest], tmp_path: Path) -> None:
    """Guards the input's scale, which nothing but the file itself shows: a wrong one passes for a darker picture."""

    def darker(model: Any) -> None:
        _set_constant(model, "stem_conv/Reshape_scale", lambda scale: np.float32(1 / 256))

    path, card = _rewrite(exported[0].artifacts / "dense.int8.onnx", tmp_path / "x.onnx", darker)
    with pytest.raises(VerificationError, match="raw pixels of scale 1/255 and zero point 0, found"):
        verification.verify(path, card, IMAGES, open_artifact(path).predict(IMAGES), name="dense.int8.onnx")


def test_an_answer_that_depends_on_the_batch_is_refused() -> None:
    """Guards against dynamic quantization that takes its ranges from the whole batch."""

    class Neighbours:
        card = Card("dense", "dynamic-int8", tuple("abc"), None)  # type: ignore[arg-type]  # no contract needed

        def predict(self, batch: Any) -> Any:
            rows = np.tile(np.array([0.5, 0.3, 0.2], np.float32), (len(batch), 1))
            rows[:, 0] += 0.01 * (len(batch) > 1)
            rows[:, 1] -= 0.01 * (len(batch) > 1)
            return rows

    reference = np.tile(np.array([0.5, 0.3, 0.2], np.float32), (70, 1))
    with pytest.raises(VerificationError, match="alone and in a batch"):
        verification._check_outputs(Neighbours(), Neighbours.card, IMAGES, reference, "x.onnx")


def test_ties_are_counted() -> None:
    """Guards the count of images that an integer output leaves undecided."""
    assert verification._count_ties(np.array([[0.5, 0.5, 0], [0.5, 0.25, 0.25], [0.25, 0.25, 0.5]], np.float32)) == 1


@pytest.mark.parametrize(("shift", "refused"), [(0.09, False), (0.12, True)])
def test_the_mean_difference_is_bounded_by_the_number_of_classes(shift: float, refused: bool) -> None:
    """Guards files of three classes: what moves from one class to another is more a class where there are few."""
    reference = np.tile(np.array([0.6, 0.3, 0.1], np.float32), (70, 1))

    class Moved:
        card = Card("dense", "int8", tuple("abc"), None)  # type: ignore[arg-type]  # no contract needed

        def predict(self, batch: Any) -> Any:
            return reference[: len(batch)] + np.array([-shift, shift, 0], np.float32)

    # 0.03 of each of seven classes is a shift of 0.105, 0.07 of each of three
    if refused:
        with pytest.raises(VerificationError, match=r"probabilities on average within 0\.07 of the float network's"):
            verification._check_outputs(Moved(), Moved.card, IMAGES, reference, "x.onnx")
    else:
        metrics = verification._check_outputs(Moved(), Moved.card, IMAGES, reference, "x.onnx")
        assert metrics["mean"] == pytest.approx(2 * shift / 3)


class _Fixed:
    """A runner that returns the rows of the images it is given, by the first pixel."""

    def __init__(self, card: Card, rows: Any) -> None:
        self.card, self.rows = card, rows

    def predict(self, batch: Any) -> Any:
        return self.rows[batch[:, 0, 0, 0]]


@pytest.mark.parametrize(
    ("precision", "moved", "passes"), [("float16", 0.3, True), ("float32", 0.3, False), ("float16", 0.6, False)]
)
def test_one_image_at_the_border_of_a_steep_network_may_move(precision: str, moved: float, passes: bool) -> None:
    """Guards the float16 file of a network with large logits: every image keeps its class, one moves far."""
    reference = np.repeat(np.array([[0.1, 0.9], [0.9, 0.1]], np.float32), 50, axis=0)
    rows = reference.copy()
    rows[0] += np.float32(moved) * np.array([1, -1], np.float32)
    images = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None, None], (100, 8, 8, 1))
    card = Card("dense", precision, ("a", "b"), InputContract(8, 8, 1))
    if passes:
        metrics = verification._check_outputs(_Fixed(card, rows), card, images, reference, "net")
        assert metrics["agreement"] == 1.0 and metrics["largest"] == pytest.approx(moved)
    else:
        with pytest.raises(VerificationError, match="probabilities within"):
            verification._check_outputs(_Fixed(card, rows), card, images, reference, "net")
