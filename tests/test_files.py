"""Writes are whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from feredge import files
from feredge.errors import RunError


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    """Guards against a half-written file under a final name after an error in the middle."""
    path = tmp_path / "model.bin"
    files.write_bytes(path, b"old")
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["folder", "link to a folder", "device"])
def test_only_files_are_replaced(tmp_path: Path, kind: str) -> None:
    """Guards devices, which root would replace by a file, and the work whose result has no place to go."""
    path = Path("/dev/null") if kind == "device" else tmp_path / "place"
    if kind == "folder":
        path.mkdir()
    elif kind != "device":
        path.symlink_to(tmp_path)
    with pytest.raises(RunError, match="expected a file, or nothing there"), files.replacing(path):
        pytest.fail("it was written")
    assert not path.is_file()


def test_the_temporary_name_keeps_the_suffix(tmp_path: Path) -> None:
    """Guards writers that choose a format by the suffix, such as OpenCV's and matplotlib's."""
    with files.replacing(tmp_path / "new" / "curves.png") as temporary:
        assert temporary.suffix == ".png"
        temporary.write_bytes(b"x")
    assert (tmp_path / "new" / "curves.png").read_bytes() == b"x"


def test_written_files_can_be_read_by_others(tmp_path: Path) -> None:
    """Guards against mkstemp's private mode, with which a web server could not read a report."""
    files.write_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_sweep_takes_only_what_killed_writers_of_that_file_left(tmp_path: Path) -> None:
    """Guards against leftovers that pile up, and against a sweep that takes another file's."""
    writer = files.replacing(tmp_path / "a[1].part.json")
    left = writer.__enter__()  # never left, as after a kill
    others = [tmp_path / name for name in ("a[1].part.json", ".b.12345678.json", ".a[1].part.json")]
    for path in others:
        path.write_text("x")
    assert left.exists()
    files.sweep(tmp_path / "a[1].part.json")
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_json_refuses_what_json_has_no_word_for(tmp_path: Path) -> None:
    """Guards against NaN in results, which browsers' parsers refuse."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    """Guards the key of every measured figure; the digest of nothing is well known."""
    files.write_bytes(tmp_path / "empty", b"")
    expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert files.sha256(tmp_path / "empty") == expected
