"""A bundle's folder: its manifest, written with all its files or not at all."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import feredge
from feredge import dataclass_io, files
from feredge.bundles.golden import Golden, GoldenRecord
from feredge.bundles.options import BundleOptions
from feredge.bundles.source import Source
from feredge.errors import ArtifactError, RecipeError, RunError, one_line
from feredge.paths import BUNDLE_FILE

BUNDLE_SCHEMA = 1
MANIFEST_LIMIT_BYTES = 16 << 20  # answers of 4,000 classes are 3 MB of text
OWNER_FOLDER = "runtimes"
"""In a web bundle: other runtimes that its owner puts there. No self-test loads them."""
Contents = Mapping[str, bytes]
"""A bundle's files by their paths in its folder, with `/`."""


@dataclass(frozen=True)
class SourceRecord:
    """Name and SHA-256 of the file that a bundle was made from."""

    file: str
    sha256: str


@dataclass(frozen=True)
class BundleManifest:
    """What `bundle.json` states.

    Attributes:
        target: a name of `bundles.targets.TARGETS`.
        version: of the feredge that wrote the bundle.
        source: the file that the bundle was made from.
        options: of the target.
        golden: the golden vectors.
        files: SHA-256 of each file, by its path in the folder.
    """

    target: str
    version: str
    source: SourceRecord
    options: BundleOptions
    golden: GoldenRecord
    files: dict[str, str]

    @classmethod
    def of(
        cls, contents: Contents, *, target: str, source: Source, options: BundleOptions, golden: Golden
    ) -> BundleManifest:
        """Return the manifest of a bundle's contents."""
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())}
        origin = SourceRecord(source.name, source.sha256)
        return cls(target, feredge.__version__, origin, options, golden.record, digests)

    @classmethod
    def read(cls, folder: Path) -> BundleManifest:
        """Read a folder's `bundle.json`.

        Raises:
            ArtifactError: none, another schema, or paths that leave the folder.
        """
        path = folder / BUNDLE_FILE
        try:
            with path.open("rb") as file:
                value = json.loads(file.read(MANIFEST_LIMIT_BYTES).decode())
        except (OSError, ValueError, RecursionError) as error:
            raise ArtifactError(f"{path}: expected a bundle's manifest, found none ({one_line(error)})") from error
        if not isinstance(value, dict) or value.pop("schema", None) != BUNDLE_SCHEMA:
            raise ArtifactError(f"{path}: expected a bundle of schema {BUNDLE_SCHEMA}, found another")
        try:
            manifest: BundleManifest = dataclass_io.read(cls, value, str(path))
        except RecipeError as error:
            raise ArtifactError(str(error)) from error
        for name in manifest.files:
            if ".." in Path(name).parts or Path(name).is_absolute():
                raise ArtifactError(f"{path}: expected paths inside the bundle, found {name!r:.80}")
        return manifest

    def to_json(self) -> dict[str, Any]:
        """Return the contents of `bundle.json`."""
        return {"schema": BUNDLE_SCHEMA, **asdict(self)}


def write_bundle(out: Path, contents: Contents, manifest: BundleManifest) -> None:
    """Write a bundle beside `out`, then put it in its place. On an error `out` stays as it was.

    Raises:
        RunError: `check_replaceable` refuses `out`.
    """
    out = out.resolve()
    check_replaceable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    new, old = (out.with_name(f".{out.name}.{secrets.token_hex(4)}") for _ in range(2))
    try:
        for name, data in contents.items():
            files.write_bytes(new / name, data)
        files.write_json(new / BUNDLE_FILE, manifest.to_json())
        if out.exists():
            out.rename(old)
        new.rename(out)
    except BaseException:
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    finally:
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)


def check_replaceable(out: Path) -> None:
    """Raise RunError unless there is nothing at `out`, an empty folder, or an unchanged bundle of feredge."""
    if not out.exists():
        return
    if not out.is_dir():
        raise RunError(f"{out}: expected a folder to write, or nothing there, found a file")
    if not any(out.iterdir()):
        return
    try:
        manifest = BundleManifest.read(out)
    except ArtifactError as error:
        raise RunError(f"{out}: expected an empty folder or an earlier bundle, found another folder") from error
    problem = next(differences(out, manifest), None)
    if problem is not None:
        raise RunError(f"{problem}; move your files, or remove the folder")


def differences(folder: Path, manifest: BundleManifest, *, ignored: str = "") -> Iterator[str]:
    """Give, one line each, the files of a bundle that are missing or changed, then those that it did not write.

    Args:
        ignored: a folder whose files are not the bundle's.
    """
    for name, sha256 in manifest.files.items():
        path = folder / name
        if not path.is_file():
            yield f"{path}: expected a file of the bundle, found none"
        elif files.sha256(path) != sha256:
            yield f"{path}: expected the file that the bundle was written with, found a changed one"
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if ignored and name.startswith(f"{ignored}/"):
            continue
        if name not in manifest.files and name != BUNDLE_FILE and not (path.is_dir() and not path.is_symlink()):
            yield f"{path}: expected files of the bundle only, found another"
