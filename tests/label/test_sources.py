"""Which pictures are meant."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from feredge.errors import PictureError
from feredge.label.sources import describe_skipped, list_pictures


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_folders_are_walked_in_order(tmp_path: Path) -> None:
    """Any depth, sorted by name, pictures only, capitals allowed; a table that goes on rests on this order."""
    touch(tmp_path, "b/2.png", "b/1.JPG", "a.webp", "c/d/e.bmp", "notes.txt", "b/model.onnx", "z.png")
    wanted = ["a.webp", "b/1.JPG", "b/2.png", "c/d/e.bmp", "z.png"]
    assert list_pictures([tmp_path]) == [str(tmp_path / name) for name in wanted]


def test_files_are_taken_as_given(tmp_path: Path) -> None:
    """A file that was named is meant, whatever its suffix, and twice where it was named twice."""
    touch(tmp_path, "x", "y.png")
    names = [str(tmp_path / name) for name in ("y.png", "x", "y.png")]
    assert list_pictures(names) == names


def test_lists(tmp_path: Path) -> None:
    """Paths in a list start from its folder; empty lines do not count; names that are no UTF-8 survive."""
    odd = os.fsdecode(b"caf\xe9.png")
    (tmp_path / "list.txt").write_bytes(b"a.png\n\n  sub/b.png \r\n/abs/c.png\ncaf\xe9.png\n")
    found = list_pictures([], lists=[tmp_path / "list.txt"])
    assert found == [f"{tmp_path}/a.png", f"{tmp_path}/sub/b.png", "/abs/c.png", f"{tmp_path}/{odd}"]


def test_a_list_from_windows(tmp_path: Path) -> None:
    """Guards the first name, which has the file's byte order mark before it."""
    (tmp_path / "list.txt").write_bytes("\ufeffa.png\r\nb.png\r\n".encode())
    assert list_pictures([], lists=[tmp_path / "list.txt"]) == [f"{tmp_path}/a.png", f"{tmp_path}/b.png"]


def test_a_folder_inside_that_is_excluded(tmp_path: Path) -> None:
    """Guards `--annotate` into the pictures' own folder: the copies of an earlier start are no pictures to be named."""
    touch(tmp_path, "q/a.png", "q/out/a.png", "q/b/out/a.png")
    found = list_pictures([tmp_path / "q"], exclude=tmp_path / "q" / "b" / ".." / "out")
    assert found == [f"{tmp_path}/q/a.png", f"{tmp_path}/q/b/out/a.png"]


def test_nothing_there(tmp_path: Path) -> None:
    """A typing error, an empty folder and a missing list are one line each."""
    for paths, lists, words in (
        ([tmp_path / "none"], [], "found nothing"),
        ([tmp_path], [], f"^{tmp_path}: .*found none"),
        ([], [], "found none"),
        ([], [tmp_path / "none.txt"], "cannot be read"),
    ):
        with pytest.raises(PictureError, match=words):
            list_pictures(paths, lists=lists)


def test_links_do_not_lead_in_circles(tmp_path: Path) -> None:
    """A folder that links to its parent must not be walked for ever."""
    touch(tmp_path, "a/b.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert list_pictures([tmp_path]) == [str(tmp_path / "a" / "b.png")]


def test_every_suffix_of_a_picture(tmp_path: Path) -> None:
    """Guards pictures that browsers and phones name otherwise."""
    names = sorted(["a.jfif", "b.JPE", "c.heic", "d.avif", "e.pam", "f.PNG", "g\nh.png"])
    touch(tmp_path, *names)
    assert list_pictures([tmp_path]) == [str(tmp_path / name) for name in names]


def test_what_is_no_picture_is_counted(tmp_path: Path) -> None:
    """Guards pictures of a kind that nobody thought of, passed over without a word."""
    touch(tmp_path, "a.png", "b.jxl", "c.JXL", "d/e.txt", "README", ".hidden")
    skipped = Counter[str]()
    list_pictures([tmp_path], skipped=skipped)
    assert skipped == {".jxl": 2, ".txt": 1, "files without a suffix": 1}
    assert describe_skipped(skipped) == "skipped: 2 .jxl, 1 files without a suffix, 1 .txt"
    assert not describe_skipped(Counter())


def test_linked_folders(tmp_path: Path) -> None:
    """A link to pictures elsewhere is followed; one that leads to what was walked, or above, is counted."""
    touch(tmp_path, "elsewhere/c.png", "in/a.png", "outside.png")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "same").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "up").symlink_to(tmp_path)
    skipped = Counter[str]()
    found = list_pictures([tmp_path / "in"], skipped=skipped)
    assert found == [f"{tmp_path}/in/a.png", f"{tmp_path}/in/link/c.png"]
    assert skipped == {"repeated links to folders": 2}
