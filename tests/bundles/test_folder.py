"""A bundle's folder is written whole, and replaces nothing but an unchanged bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from feredge import files
from feredge.bundles.folder import BundleManifest, write_bundle
from feredge.bundles.golden import golden_vectors
from feredge.bundles.options import BundleOptions
from feredge.bundles.source import open_source
from feredge.errors import ArtifactError, RunError

NANO = Path(__file__).parents[2] / "models/nano"
CONTENTS = {"README.md": b"read", "src/net.c": b"int x;"}


@pytest.fixture(scope="module")
def manifest() -> BundleManifest:
    source = open_source(NANO)
    return BundleManifest.of(
        CONTENTS, target="mcu", source=source, options=BundleOptions(), golden=golden_vectors(source)
    )


def write_file(folder: Path) -> None:
    folder.write_text("mine")


def write_other_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / "letter.txt").write_text("mine")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (write_file, "expected a folder to write, or nothing there, found a file"),
        (write_other_folder, "expected an empty folder or an earlier bundle, found another folder"),
    ],
)
def test_other_folders_stay(
    manifest: BundleManifest, tmp_path: Path, prepare: Callable[[Path], None], message: str
) -> None:
    """Guards a user's files against `--out` of a folder that is not a bundle."""
    prepare(tmp_path / "out")
    with pytest.raises(RunError, match=message):
        write_bundle(tmp_path / "out", CONTENTS, manifest)
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine"]


def test_an_earlier_bundle_is_replaced_unless_it_was_changed(manifest: BundleManifest, tmp_path: Path) -> None:
    """Guards files that a user added to a bundle, or changed in it."""
    out = tmp_path / "some" / "out"
    for _ in range(2):
        write_bundle(out, CONTENTS, manifest)
        assert BundleManifest.read(out) == manifest
    (out / "build").mkdir()
    (out / "build/main.o").write_text("")
    with pytest.raises(RunError, match=r"main\.o: expected files of the bundle only, found another; move your files"):
        write_bundle(out, CONTENTS, manifest)
    (out / "build/main.o").unlink()
    (out / "src/net.c").write_text("int mine;")
    with pytest.raises(RunError, match=r"net\.c: expected the file that the bundle was written with, found a changed"):
        write_bundle(out, CONTENTS, manifest)
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_failed_write_leaves_the_earlier_bundle(
    manifest: BundleManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against half a bundle after a full disk."""
    write_bundle(tmp_path / "out", CONTENTS, manifest)

    def full_disk(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_json", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_bundle(tmp_path / "out", {**CONTENTS, "src/net.c": b"int y;"}, manifest)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out/src/net.c").read_bytes() == CONTENTS["src/net.c"]


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 9},
        {"files": {"../../etc/passwd": "00"}},
        {"files": {"/etc/passwd": "00"}},
        {"files": 3},
        {"more": 1},
    ],
)
def test_damaged_manifests_are_refused(manifest: BundleManifest, tmp_path: Path, change: dict[str, object]) -> None:
    """Guards against a manifest from elsewhere, which names files outside of its folder."""
    (tmp_path / "bundle.json").write_text(json.dumps({**manifest.to_json(), **change}))
    with pytest.raises(ArtifactError, match="bundle"):
        BundleManifest.read(tmp_path)
