"""Checkpoints: round trip, damage, and files of another kind."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feredge.errors import RunError
from feredge.keras import tf
from feredge.train import checkpoint, history

ONE_EPOCH = np.vstack([history.empty(), np.arange(8.0)])


def _variables(fill: float = 0.0) -> checkpoint.Variables:
    weights = [tf.Variable(tf.fill((3, 2), fill)), tf.Variable(tf.fill((2,), fill))]
    return {"weight": weights, "iteration": [tf.Variable(int(fill), dtype=tf.int64)]}


def _save(path: Path, fill: float = 7.0) -> None:
    checkpoint.save(path, _variables(fill), identity="me", precision="float32", history=ONE_EPOCH)


def test_round_trip(tmp_path: Path) -> None:
    """Guards that all variables and the history are restored bit for bit."""
    _save(tmp_path / "c.npz")
    variables = _variables()
    arrays = checkpoint.read(tmp_path / "c.npz", identity="me")
    checkpoint.restore(tmp_path / "c.npz", arrays, variables)
    for kind, group in _variables(7.0).items():
        for expected, actual in zip(group, variables[kind], strict=True):
            np.testing.assert_array_equal(expected.numpy(), actual.numpy())
    np.testing.assert_array_equal(arrays["history"], ONE_EPOCH)


def test_another_trainings_checkpoint_is_refused(tmp_path: Path) -> None:
    """Guards against resuming from the weights of another recipe or data set."""
    _save(tmp_path / "c.npz")
    with pytest.raises(RunError, match="another recipe"):
        checkpoint.read(tmp_path / "c.npz", identity="you")


def test_other_files_are_refused(tmp_path: Path) -> None:
    """Guards the one-line error for other files, and that a pickle in an npz is not loaded."""
    path = tmp_path / "c.npz"
    np.savez(path, weights=np.zeros(3))
    with pytest.raises(RunError, match="another npz"):
        checkpoint.read(path, identity="me")
    np.savez(path, schema=np.array([{"a": 1}], dtype=object))
    with pytest.raises(RunError, match="cannot be read"):
        checkpoint.read(path, identity="me")
    for content in (b"", b"not a zip", pickle.dumps([1])):
        path.write_bytes(content)
        with pytest.raises(RunError, match="cannot be read"):
            checkpoint.read(path, identity="me")
    np.save(path.with_suffix(".npy"), np.zeros(3))
    path.with_suffix(".npy").rename(path)
    with pytest.raises(RunError, match="cannot be read"):
        checkpoint.read(path, identity="me")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_an_error_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    """Guards against loading damaged weights: a cut or flipped byte raises RunError, or changes no array."""
    path = tmp_path / "c.npz"
    _save(path)
    whole, expected = path.read_bytes(), checkpoint.read(path, identity="me")
    at = data.draw(st.integers(0, len(whole) - 1))
    flip = data.draw(st.integers(0, 255))
    path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :] if flip else whole[:at])
    try:
        arrays = checkpoint.read(path, identity="me")
        checkpoint.restore(path, arrays, _variables())
    except RunError as error:
        assert "\n" not in str(error)
        return
    assert all(np.array_equal(arrays[name], expected[name]) for name in ("weight_0", "weight_1", "iteration_0"))


def test_a_wrong_shape_assigns_nothing(tmp_path: Path) -> None:
    """Guards against a partly restored network when a later array does not fit."""
    _save(tmp_path / "c.npz")
    arrays = checkpoint.read(tmp_path / "c.npz", identity="me")
    arrays["weight_1"] = np.zeros(3, np.float32)
    variables = _variables()
    with pytest.raises(RunError, match=r"expected weight_1 float32 \(2,\), found float32 \(3,\)"):
        checkpoint.restore(tmp_path / "c.npz", arrays, variables)
    assert not variables["weight"][0].numpy().any()
