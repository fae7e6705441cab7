"""Writes are whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


WRITER = """
import sys, time
from feredge import files
with files.replacing(sys.argv[1]) as temporary:
    print(temporary, flush=True)
    time.sleep(60)
"""


@contextmanager
def writer(path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Give a real process in the middle of writing `path`, and its temporary file."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().rstrip("\n"))
        finally:
            process.kill()


def test_what_a_killed_writer_left_goes_with_the_next(tmp_path: Path) -> None:
    """Guards against leftovers that pile up, and a writer at work against another one's cleaning."""
    path = tmp_path / "a[1].part.json"
    with writer(path) as (process, left):
        files.remove_leftovers(path)
        assert left.exists(), "its writer lives"
        process.kill()
        process.wait()
        files.write_text(path, "x")
    assert list(tmp_path.iterdir()) == [path]


def test_a_sweep_takes_nothing_else(tmp_path: Path) -> None:
    """Guards other targets' files, names of another pattern, links, pipes, folders and files with a second name."""
    path = tmp_path / "a.json"
    others = [
        tmp_path / name for name in ("a.json", ".b.12345678.json", ".a.json", ".a.backup_1.json", ".a.1234567g.json")
    ]
    for other in others:
        other.write_text("x")
    (tmp_path / ".a.00000000.json").symlink_to(path)
    (tmp_path / ".a.00000001.json").hardlink_to(path)
    os.mkfifo(tmp_path / ".a.00000002.json")
    (tmp_path / ".a.00000003.json").mkdir()
    before = sorted(tmp_path.iterdir())
    files.remove_leftovers(path)
    assert sorted(tmp_path.iterdir()) == before


def test_the_umask_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards files that other threads create meanwhile: a process has one umask, and reading it means to change it."""
    monkeypatch.setattr(os, "umask", None)
    files.write_text(tmp_path / "a", "x")
    with files.replacing(tmp_path / "b", private=True) as temporary:
        temporary.write_text("x")
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600


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
