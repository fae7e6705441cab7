"""Audit of HDF5 files and zip archives: HDF5 without references to other files, archives of bounded size."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]

from feredge.importing.audit import CONFIG_BYTES

WEIGHTS_BYTES = 1 << 30
HDF5_OBJECTS = 20_000
HDF5_DEPTH = 32
DEFLATE_RATIO = 1100  # deflate compresses by at most 1032
ALLOWED_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
UNLOADED_GROUPS = ("optimizer_weights", "optimizer")
KERAS_MEMBERS = {"config.json": CONFIG_BYTES, "metadata.json": 1 << 20, "model.weights.h5": WEIGHTS_BYTES}


def unpack_keras(path: Path, folder: Path) -> bytes:
    """Write the weights of a `.keras` file to `folder`/model.weights.h5 and return its config.json.

    Raises:
        ValueError, zipfile.BadZipFile: duplicate, unknown, missing or too large members.
    """
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if not info.is_dir()]
        names = [info.filename for info in members]
        if len(set(names)) != len(names):
            raise ValueError("expected each member of the archive once, found one twice")
        extra = [name for name in names if name not in KERAS_MEMBERS]
        if extra:
            raise ValueError(f"expected {', '.join(KERAS_MEMBERS)} in the archive, found {extra[0][:60]!r}")
        for info in members:
            if info.file_size > KERAS_MEMBERS[info.filename]:
                raise ValueError(f"expected at most {KERAS_MEMBERS[info.filename]} bytes of {info.filename}")
        if not {"config.json", "model.weights.h5"} <= set(names):
            raise ValueError("expected config.json and model.weights.h5 in the archive")
        with archive.open("model.weights.h5") as source, (folder / "model.weights.h5").open("wb") as target:
            while block := source.read(1 << 20):  # zipfile stops at the size that was checked
                target.write(block)
        return archive.read("config.json")


def audit_hdf5(path: Path) -> None:
    """Raise ValueError unless all loaded data of an HDF5 file are in the file itself, numeric and of bounded size."""
    with h5py.File(path, "r") as file:
        if file.userblock_size:
            raise ValueError("expected HDF5 from the first byte on, found a user block before it")
        remaining = [WEIGHTS_BYTES]
        _audit_group(file, 0, set(), remaining, skipped=UNLOADED_GROUPS)


def _audit_group(
    group: Any, depth: int, addresses: set[int], remaining: list[int], skipped: tuple[str, ...] = ()
) -> None:
    _audit_attributes(group)
    for name in group:
        if name in skipped:
            continue
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"expected no links, found {group.name}/{name}")
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        if address in addresses:
            raise ValueError(f"expected each object of the file once, found {item.name} twice")
        addresses.add(address)
        if depth >= HDF5_DEPTH or len(addresses) > HDF5_OBJECTS:
            raise ValueError(f"expected at most {HDF5_OBJECTS} objects, nested at most {HDF5_DEPTH} deep")
        if isinstance(item, h5py.Group):
            _audit_group(item, depth + 1, addresses, remaining)
        elif isinstance(item, h5py.Dataset):
            _audit_dataset(item, remaining)
        else:
            raise ValueError(f"expected groups and arrays, found the type {item.name}")


def _audit_dataset(dataset: Any, remaining: list[int]) -> None:
    _audit_attributes(dataset)
    settings = dataset.id.get_create_plist()
    if settings.get_external_count() or dataset.is_virtual:
        raise ValueError(f"expected arrays in the file itself, found {dataset.name} in another")
    if dataset.dtype.kind not in "fiub":
        raise ValueError(f"expected numbers, found {dataset.name} of {dataset.dtype}")
    if any(settings.get_filter(index)[0] not in ALLOWED_FILTERS for index in range(settings.get_nfilters())):
        raise ValueError(f"expected deflate at most, found another filter on {dataset.name}")
    ratio = DEFLATE_RATIO if settings.get_nfilters() else 1
    if dataset.nbytes > dataset.id.get_storage_size() * ratio:
        raise ValueError(f"expected {dataset.nbytes} bytes of {dataset.name}, found fewer")
    remaining[0] -= dataset.nbytes
    if remaining[0] < 0:
        raise ValueError(f"expected at most {WEIGHTS_BYTES} bytes of weights, found more")


def _audit_attributes(item: Any) -> None:
    for name in item.attrs:
        attribute = item.attrs.get_id(name)
        is_text = h5py.check_string_dtype(attribute.dtype) is not None
        if not is_text and attribute.dtype.kind not in "fiub":
            raise ValueError(f"expected text or numbers, found the attribute {name[:60]!r} of {attribute.dtype}")
        # HDF5 raises an error for the size of an empty attribute
        if 0 not in attribute.shape and attribute.get_storage_size() > CONFIG_BYTES:
            raise ValueError(f"expected attributes of at most {CONFIG_BYTES} bytes, found {name[:60]!r}")
