"""ONNX models whose weights lie in other files, as exporters write large ones: which files, whole, and no others."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path, PurePosixPath

from feredge import files
from feredge.errors import ArtifactError
from feredge.inference.onnx_check import read_onnx


def external_files(path: Path) -> tuple[Path, ...]:
    """Return the files that hold weights of an ONNX model, in the order of their names; none for other formats.

    Raises:
        ArtifactError: no ONNX model; or weights that are missing, that lie outside of the model's folder or behind a
            link, or in what is no file, such as a pipe or a device.
    """
    if path.suffix != ".onnx":
        return ()
    try:
        entries = read_onnx(path.read_bytes()).external_data
        lengths: dict[str, int] = {}
        for entry in entries:
            place = entry.get("location", "")
            end = int(entry.get("offset") or 0) + int(entry.get("length") or 0)
            lengths[place] = max(lengths.get(place, 0), end)
        return tuple(_resolve(path.parent, place, length) for place, length in sorted(lengths.items()))
    except ValueError as error:
        raise ArtifactError(f"{path.name}: expected offsets of weights in numbers, found others") from error
    except ArtifactError as error:
        raise ArtifactError(f"{path.name}: {error}") from error


def digest_and_size(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a model and its bytes on disk, the files that hold its weights with it.

    Where there are such files, the digest is that of the text that `sha256sum MODEL WEIGHTS...` prints in the folder.

    Raises:
        ArtifactError: see `external_files`.
    """
    others = external_files(path)
    if not others:
        return files.sha256(path), path.stat().st_size
    names = [path, *others]
    text = "".join(f"{files.sha256(one)}  {one.relative_to(path.parent).as_posix()}\n" for one in names)
    return hashlib.sha256(text.encode()).hexdigest(), sum(one.stat().st_size for one in names)


def _resolve(folder: Path, place: str, length: int) -> Path:
    parts = PurePosixPath(place).parts
    if not parts or place.startswith("/") or ".." in parts or any(sign in place for sign in "\\:\0"):
        raise ArtifactError(f"expected weights in the model's own folder, found them in {place!r:.80}")
    found = folder
    for part in parts:
        found = found / part
        try:
            mode = found.lstat().st_mode
        except OSError as error:
            raise ArtifactError(f"expected weights in {place!r:.80}, found none ({error.strerror})") from error
        if stat.S_ISLNK(mode):
            raise ArtifactError(f"expected weights in the model's own folder, found a link, {place!r:.80}")
    if not stat.S_ISREG(mode) or found.stat().st_size < length:
        raise ArtifactError(f"expected a file of at least {length:,} bytes of weights, found another, {place!r:.80}")
    return found
