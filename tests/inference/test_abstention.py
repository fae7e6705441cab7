"""The label `unsure`: from the Predictor to pictures, tables, tracks and metrics."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from device_models import card, faces, write_onnx

from feredge import CLASSES, UNSURE_LABEL, Predictor, verify
from feredge.errors import ArtifactError
from feredge.inference.abstention import FileThresholds, PrecisionThreshold, write_thresholds
from feredge.inference.artifact import Manifest, manifest_entry
from feredge.label.draw import annotate
from feredge.label.tracker import Tracker

THRESHOLD = 0.5


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Write a model with thresholds for .9 and, without success, .95."""
    path = write_onnx(tmp_path / "dense.float32.onnx", with_card=card())
    entry = manifest_entry(path, card(), {})
    Manifest((entry,)).write(tmp_path)
    levels = (PrecisionThreshold(0.9, THRESHOLD, 0.5, 0.91), PrecisionThreshold(0.95, None, 0.0, 0.93))
    write_thresholds(tmp_path, {entry.sha256: FileThresholds(path.name, 1000, "ab" * 32, 0.95, levels)})
    return path


def test_unsure_faces_keep_their_probabilities(model: Path) -> None:
    """Guards the answer: `unsure` below the threshold and only there, with the likeliest class and all scores."""
    pictures = faces(40)
    with Predictor(model) as plain, Predictor(model, unsure=True) as predictor:
        expected_faces, unsure_faces = plain.batch(pictures), predictor.batch(pictures)
        assert predictor.threshold == THRESHOLD and plain.threshold == 0
        assert predictor(pictures[0]) == unsure_faces[0]
        assert pickle.loads(pickle.dumps(predictor)).threshold == THRESHOLD
    assert {face.sure for face in unsure_faces} == {True, False} and all(face.sure for face in expected_faces)
    for face, unsure_face in zip(expected_faces, unsure_faces, strict=True):
        assert unsure_face.sure == (face.confidence >= THRESHOLD)
        assert unsure_face.label == (face.label if unsure_face.sure else UNSURE_LABEL)
        assert (unsure_face.likeliest, unsure_face.scores) == (face.label, face.scores)
        assert unsure_face.to_dict()["probabilities"] == face.to_dict()["probabilities"]
    assert annotate(np.zeros((96, 96), np.uint8), unsure_faces).any(), "draws a face without a class"


def test_a_threshold_belongs_to_its_file(model: Path, tmp_path: Path) -> None:
    """Guards against a threshold of another file, one that was edited, and a precision without one."""
    for precision, reason in ((0.8, r"that was calibrated \(0.9, 0.95\), found 0.8"), (0.95, "no threshold was shown")):
        with pytest.raises(ArtifactError, match=reason):
            Predictor(model, unsure=precision)
    text = (model.parent / "thresholds.json").read_text()
    other = tmp_path / "other"
    other.mkdir()
    changed = write_onnx(other / model.name, with_card=card(licence="another"))
    with pytest.raises(ArtifactError, match="found none"):
        Predictor(changed, unsure=True)
    (other / "thresholds.json").write_text(text)
    with pytest.raises(ArtifactError, match="found those of others"):
        Predictor(changed, unsure=True)
    (model.parent / "thresholds.json").write_text(text.replace("0.5", "0.1"))
    with pytest.raises(ArtifactError, match="expected SHA-256"):
        Predictor(model, unsure=True)
    assert any("thresholds.json" in failure for failure in verify(model.parent).failures)


def test_a_class_called_unsure(tmp_path: Path) -> None:
    """Guards against a label that could mean both."""
    path = write_onnx(tmp_path / "m.onnx", with_card=card(classes=(*CLASSES[:6], UNSURE_LABEL)))
    with pytest.raises(ArtifactError, match="no class called 'unsure'"):
        Predictor(path, unsure=True)


def test_smoothed_tracks(model: Path) -> None:
    """Guards a track: its smoothed confidence decides, not that of the frame."""
    with Predictor(model, unsure=True) as predictor:
        first, *_ = [face for face in predictor.batch(faces(40)) if face.sure]
        _, second, *_ = [face for face in predictor.batch(faces(40)) if not face.sure]
    tracker = Tracker(smoothing_seconds=1.0, threshold=first.confidence - 1e-6)
    assert tracker.update([first], 0.0)[0].face.sure
    (tracked,) = tracker.update([second], 0.5)
    assert not tracked.face.sure and tracked.face.label == UNSURE_LABEL
    assert json.dumps(tracked.face.to_dict())
