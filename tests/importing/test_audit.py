"""Audit of Keras files: only names on the allowlist, nothing imported, nothing outside of the file read."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feredge.errors import ArtifactError
from feredge.importing.audit import ALLOWED_CLASSES, audit_config, parse_config
from feredge.importing.containers import audit_hdf5
from feredge.importing.keras_file import open_network
from feredge.keras import keras, tf

layers = keras.layers


def _network() -> Any:
    keras.utils.set_random_seed(3)
    pixels = keras.Input((16, 16, 1))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(pixels))
    return keras.Model(pixels, layers.Dense(7, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def _object_configs(value: Any) -> list[dict[str, Any]]:
    """Return the configuration of each object in `value`."""
    if isinstance(value, list):
        return [config for item in value for config in _object_configs(item)]
    if not isinstance(value, dict):
        return []
    return [value] * ("class_name" in value) + _object_configs(list(value.values()))


MODEL_CONFIG = json.loads(_network().to_json())


@given(st.text(min_size=1).filter(lambda name: name not in ALLOWED_CLASSES), st.integers(0, 10_000))
def test_a_class_outside_the_list_is_refused_wherever_it_stands(name: str, position: int) -> None:
    """Guards against a part of the configuration that the audit skips."""
    config = json.loads(json.dumps(MODEL_CONFIG))
    objects = _object_configs(config)
    objects[position % len(objects)]["class_name"] = name
    with pytest.raises(ArtifactError, match="not run"):
        audit_config(config, "file")


@given(st.sampled_from(["module", "registered_name"]), st.integers(0, 10_000))
def test_a_module_outside_the_list_is_refused_wherever_it_stands(key: str, position: int) -> None:
    """Guards against an import: Keras imports the module that a configuration names."""
    config = json.loads(json.dumps(MODEL_CONFIG))
    objects = _object_configs(config)
    objects[position % len(objects)][key] = "os"
    with pytest.raises(ArtifactError, match=r"not imported|not run"):
        audit_config(config, "file")


def test_optimizers_and_losses_are_not_judged() -> None:
    """Guards compiled networks, whose custom losses are never opened."""
    assert "compile_config" not in audit_config({**MODEL_CONFIG, "compile_config": {"class_name": "Mine"}}, "file")


def test_only_sizes_are_bounded() -> None:
    """Guards memory from a layer of endless units, and networks whose other numbers are large."""
    assert audit_config({**MODEL_CONFIG, "shared_object_id": 1 << 47, "max_value": 1e30}, "file")
    config = json.loads(json.dumps(MODEL_CONFIG))
    for item in _object_configs(config):
        if item["class_name"] == "Dense":
            item["config"]["units"] = 1 << 40
    with pytest.raises(ArtifactError, match="units = 1099511627776"):
        audit_config(config, "file")


def test_an_adapted_normalization_of_a_saved_model_answers_the_same(tmp_path: Path) -> None:
    """Guards constants that a layer computes from its weights."""
    normalization = layers.Normalization()
    images = np.random.default_rng(0).random((8, 4, 4, 1), dtype=np.float32)
    normalization.adapt(images)
    network = keras.Sequential([keras.Input((4, 4, 1)), normalization, layers.Flatten(), layers.Dense(7)])
    network.save(tmp_path / "saved", save_format="tf")
    np.testing.assert_allclose(open_network(tmp_path / "saved")(images), network(images), atol=1e-6)


@pytest.mark.parametrize("config", [[], "x", None, {"module": "planted", "class_name": "function", "config": "x"}])
def test_a_module_beside_the_file_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Any) -> None:
    """Guards against code that lies beside a network."""
    (tmp_path / "planted.py").write_text("x = 1")
    monkeypatch.syspath_prepend(tmp_path)
    _network().save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as source, zipfile.ZipFile(tmp_path / "b.keras", "w") as target:
        for name in source.namelist():
            target.writestr(name, json.dumps(config) if name == "config.json" else source.read(name))
    with pytest.raises(ArtifactError):
        open_network(tmp_path / "b.keras")
    assert "planted" not in sys.modules


def test_a_deep_description_is_refused() -> None:
    """Guards the stack of the parser."""
    with pytest.raises(ValueError, match="nested"):
        parse_config("[" * 100_000 + "]" * 100_000)
    assert parse_config('{"a": "[[[\\"[["}') == {"a": '[[["[['}


@pytest.mark.parametrize("kind", ["external", "external link", "soft link", "virtual", "missing bytes", "objects"])
def test_hdf5_refers_to_nothing_outside(tmp_path: Path, kind: str) -> None:
    """Guards local files that become weights, and shapes that allocate what is not stored."""
    (tmp_path / "secret.bin").write_bytes(bytes(400))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if kind == "external":
            file.create_dataset("x", (4, 7), "float32", external=[(str(tmp_path / "secret.bin"), 0, 112)])
        elif kind == "external link":
            file["x"] = h5py.ExternalLink("other.h5", "/x")
        elif kind == "soft link":
            file["x"] = h5py.SoftLink("/y")
        elif kind == "virtual":
            layout = h5py.VirtualLayout((4,), "float32")
            layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
            file.create_virtual_dataset("x", layout)
        elif kind == "missing bytes":
            file.create_dataset("x", (1 << 20, 1 << 20), "float32", chunks=(1, 1024), fillvalue=1)
        else:
            file.create_dataset("x", data=["text"], dtype=h5py.string_dtype())
    with pytest.raises(ValueError, match="expected"):
        audit_hdf5(tmp_path / "a.h5")


@pytest.mark.parametrize("extra", ["../x", "/x", "assets/vocabulary.txt", "config.json"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_members_of_an_archive_are_refused(tmp_path: Path, extra: str) -> None:
    """Guards names that leave the archive, files that layers read, and two configurations of one network."""
    _network().save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras", "a") as archive:
        archive.writestr(extra, "{}")
    with pytest.raises(ArtifactError, match="archive"):
        open_network(tmp_path / "a.keras")


def test_a_saved_model_is_rebuilt_and_its_graph_is_not_run(tmp_path: Path) -> None:
    """Guards against a resource initializer that writes a file, and weights in another order."""
    from tensorflow.python.trackable.resource import CapturableResource  # noqa: TID251

    target = str(tmp_path / "written")

    class Writer(CapturableResource):  # type: ignore[misc]  # TensorFlow has no types
        def _create_resource(self) -> Any:
            return tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.string, shared_name="t")

        def _initialize(self) -> None:
            tf.io.write_file(target, "written")

    network = _network()
    network.layers[2].set_weights([np.random.default_rng(i).uniform(1, 2, 4) for i in range(4)])
    network.writer = Writer()
    network.save(tmp_path / "saved", save_format="tf")
    Path(target).unlink(missing_ok=True)
    images = np.random.default_rng(0).random((8, 16, 16, 1), dtype=np.float32)
    rebuilt = open_network(tmp_path / "saved")
    np.testing.assert_allclose(rebuilt(images), network(images), atol=1e-6)
    assert not Path(target).exists()
    (tmp_path / "saved" / "assets" / "link").symlink_to("/etc/hostname")
    with pytest.raises(ArtifactError, match="without symbolic links"):
        open_network(tmp_path / "saved")
