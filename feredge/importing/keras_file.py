"""Loading of an untrusted Keras file, without running code from it.

The file is audited first; what Keras then loads holds names of Keras's own classes, and numbers.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from feredge import files
from feredge.errors import ArtifactError, FeredgeError, one_line
from feredge.importing.audit import CONFIG_BYTES, audit_config, parse_config
from feredge.importing.containers import audit_hdf5, unpack_keras
from feredge.importing.keras3 import is_keras3, open_keras3
from feredge.importing.saved_model import rebuild_saved_model
from feredge.keras import KerasModel, keras
from feredge.paths import KERAS_SUFFIXES


def open_network(path: Path) -> KerasModel:
    """Return the network in a `.h5`, `.hdf5` or `.keras` file, or in the folder of a SavedModel, not compiled.

    It is of the Keras version that wrote the file; a SavedModel is rebuilt in Keras 2.

    Raises:
        ArtifactError: missing, damaged or of another type; Lambda layers or custom objects, which are never run.
    """
    if not path.exists():
        raise ArtifactError(f"{path}: expected a Keras file, found none")
    try:
        if path.is_dir():
            if not (path / "saved_model.pb").is_file():
                raise ValueError("a folder without saved_model.pb")
            return rebuild_saved_model(path)
        if path.suffix not in KERAS_SUFFIXES:
            raise ValueError(
                f"expected .h5, .hdf5, .keras or the folder of a SavedModel, found {path.suffix or 'no suffix'}"
            )
        with path.open("rb") as file:
            if files.is_lfs_pointer(file.read(64)):
                raise ValueError(files.LFS_ADVICE)
        return _open_archive(path) if zipfile.is_zipfile(path) else _open_hdf5(path)  # either may have any suffix
    except FeredgeError:
        raise
    except Exception as error:  # Keras, h5py and zipfile raise errors of any type
        raise ArtifactError(
            f"{path}: expected a Keras model, cannot be read as one ({one_line(error, 120)})"
        ) from error


def _open_archive(path: Path) -> KerasModel:
    """Return the network of a `.keras` file, loaded from an archive of the audited configuration and weights only."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        config = audit_config(parse_config(unpack_keras(path, folder)), path)
        audit_hdf5(folder / "model.weights.h5")
        audited = folder / "audited.keras"
        with zipfile.ZipFile(audited, "w") as archive:
            archive.writestr("config.json", json.dumps(config))
            archive.writestr("metadata.json", json.dumps({"keras_version": "", "date_saved": ""}))
            archive.write(folder / "model.weights.h5", "model.weights.h5")
        try:
            return _load(audited, config)
        except Exception as error:  # its message has the temporary path
            raise ValueError(str(error).replace(str(audited), path.name)) from error


def _open_hdf5(path: Path) -> KerasModel:
    """Return the network of an HDF5 file, loaded from a copy, so that it is the file that was audited."""
    import h5py  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory() as temporary:
        audited = Path(temporary) / "audited.h5"  # Keras chooses its reader by the suffix
        shutil.copyfile(path, audited)
        audit_hdf5(audited)
        with h5py.File(audited, "r") as file:
            text = file.attrs.get("model_config")
        if not isinstance(text, str | bytes):
            raise ValueError(f"a file of weights only, without a configuration of at most {CONFIG_BYTES} bytes")
        return _load(audited, audit_config(parse_config(text), path))


def _load(path: Path, config: Any) -> KerasModel:
    return open_keras3(path) if is_keras3(config) else keras.models.load_model(path, compile=False)
