"""External data of ONNX models: weights in files beside the model, as exporters write large ones."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path, PurePosixPath

from feredge import files
from feredge.errors import ArtifactError
from feredge.inference.onnx_check import read_onnx


def external_files(path: Path) -> tuple[Path, ...]:
    """Return the files that hold weights of an ONNX model, sorted by name; none for other formats.

    Raises:
        ArtifactError: no ONNX model; or weights that are missing, outside of the model's folder, behind a link, or in
            a special file, such as a pipe or a device.
    """
    if path.suffix != ".onnx":
        return ()
    try:
        entries = read_onnx(path.read_bytes()).external_data
        sizes: dict[str, int] = {}
        for entry in entries:
            location = entry.get("location", "")
            end = int(entry.get("offset") or 0) + int(entry.get("length") or 0)
            sizes[location] = max(sizes.get(location, 0), end)
        return tuple(_resolve(path.parent, location, size) for location, size in sorted(sizes.items()))
    except ValueError as error:
        raise ArtifactError(f"{path.name}: expected offsets of weights in numbers, found others") from error
    except ArtifactError as error:
        raise ArtifactError(f"{path.name}: {error}") from error


def digest_and_size(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a model and its bytes on disk, both with its external data.

    With external data the digest is that of the text that `sha256sum MODEL WEIGHTS...` prints in the folder.

    Raises:
        ArtifactError: see `external_files`.
    """
    weight_files = external_files(path)
    if not weight_files:
        return files.sha256(path), path.stat().st_size
    model_files = [path, *weight_files]
    text = "".join(f"{files.sha256(file)}  {file.relative_to(path.parent).as_posix()}\n" for file in model_files)
    return hashlib.sha256(text.encode()).hexdigest(), sum(file.stat().st_size for file in model_files)


def _resolve(folder: Path, location: str, min_bytes: int) -> Path:
    """Return the file that `location` names in a model's folder; ArtifactError where it is unsafe or too short."""
    parts = PurePosixPath(location).parts
    if not parts or location.startswith("/") or ".." in parts or any(character in location for character in "\\:\0"):
        raise ArtifactError(f"expected weights in the model's own folder, found them in {location!r:.80}")
    path = folder
    for part in parts:
        path = path / part
        try:
            mode = path.lstat().st_mode
        except OSError as error:
            raise ArtifactError(f"expected weights in {location!r:.80}, found none ({error.strerror})") from error
        if stat.S_ISLNK(mode):
            raise ArtifactError(f"expected weights in the model's own folder, found a link, {location!r:.80}")
    if not stat.S_ISREG(mode) or path.stat().st_size < min_bytes:
        raise ArtifactError(
            f"expected a file of at least {min_bytes:,} bytes of weights, found another, {location!r:.80}"
        )
    return path
