"""The command line as a user meets it: messages, exit codes, and nothing half-written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from feredge.cli import RENAMED_OPTIONS, main

FACE = " ".join(["7"] * 2304)
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "nano.json"
HEADER = "emotion,pixels,Usage\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep parsed copies of these files out of the user's cache."""
    monkeypatch.setenv("FEREDGE_CACHE", str(tmp_path_factory.mktemp("cache")))


def feredge(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result: Result, *words: str) -> None:
    """Check that a command ended with code 2 and nothing but one line that holds `words`."""
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("feeling,picture\n1,2\n", ["emotion", "pixels", "feeling"]),
        (f"{HEADER}0,{FACE},Training\n0,{FACE[:-2]},Training\n", ["row 2", "2303"]),
        (f"{HEADER}0,{FACE[:-1]}x,Training\n", ["row 1"]),
        (f"{HEADER}7,{FACE},Training\n", ["row 1", "7"]),
    ],
)
def test_bad_csv_files_name_the_row(tmp_path: Path, text: str, words: list[str]) -> None:
    """Guards against a stack trace, or a silent wrong image, for the ordinary ways a csv is broken."""
    path = tmp_path / "bad.csv"
    path.write_text(text)
    refused(feredge("data", "info", path), str(path), *words)
    run = tmp_path / "run"
    refused(feredge("train", "nano", "--data", path, "--out", run), *words)
    assert not run.exists()


def test_bad_rows_are_skipped_and_counted_when_asked(tmp_path: Path) -> None:
    """Guards `--skip-bad-rows`: the good row stays, the bad one is counted, not hidden."""
    path = tmp_path / "bad.csv"
    path.write_text(f"{HEADER}0,{FACE},Training\n9,{FACE},Training\n")
    result = feredge("data", "info", path, "--skip-bad-rows", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["images"], found["skipped"]) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data", "info", "nowhere.csv"], ["nowhere.csv"]),
        (["data", "info", "drawn:70", "--picture", "faces.txt"], ["picture's suffix", "'.txt'"]),
        (["train", "nanno", "--data", "drawn"], ["nanno", "did you mean 'nano'"]),
        (["train", "nano", "--data", "drawn", "--set", "training.epoch=3"], ["epoch", "did you mean 'epochs'"]),
        (["train", "nano", "--data", "drawn", "--set", "training.epochs=many"], ["training", "expected int"]),
        (["train", "nano", "--data", "drawn", "--set", "epochs"], ["section.key=value"]),
        (["train", "nano", "--data", "drawn", "--soft-labels", "no.npz"], ["no.npz", "soft labels"]),
        (
            ["train", "nano", "--data", "drawn", "--set", "compression.variants=['sparse-80']"],
            ["sparse-80", "pruned-1"],
        ),
        (["train", "nano", "--data", "drawn:70", "--start-from", "nowhere"], ["nowhere", "run folder"]),
        (["soft-labels", "nowhere", "--out", "soft.npz"], ["nowhere", "run folder"]),
        (
            ["soft-labels", "--votes", "no.csv", "--data", "drawn:70", "--out", "soft.npz"],
            ["drawn:70", "expected a csv"],
        ),
        (["soft-labels", "--votes", "no.csv", "--out", "soft.npz"], ["expected a RUN, or --votes and --data"]),
        (["export", "nowhere"], ["nowhere", "run folder"]),
        (["bench", "nowhere"], ["nowhere", "run folder"]),
        (["report", "nowhere"], ["nowhere", "results"]),
    ],
)
def test_wrong_arguments_say_what_was_expected(arguments: list[str], words: list[str]) -> None:
    """Guards one line and code 2 for names that are nowhere; a near name is suggested."""
    refused(feredge(*arguments), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["label", "--out", "{here}/t.csv", "{here}"], ["t.csv", "found a folder"]),
        (["predict", "--cropped", "--annotate", "{here}/a.png", "{here}/a.png"], ["a.png", "found a file"]),
        (["submit", "{here}/d.csv", "--out", "{here}/t.csv"], ["t.csv", "found a folder"]),
        (["submit", "{here}/d.csv", "--out", "{here}/a.png/o.csv"], ["a.png", "File exists"]),
        (["submit", "{here}/d.csv", "--out", "{here}/" + "n" * 300], ["nnn", "File name too long"]),
        (["report", str(RESULTS), "--html", "{here}/t.csv"], ["t.csv", "found a folder"]),
        (["inspect", "{here}"], ["manifest.json"]),
    ],
)
def test_places_that_cannot_be_used_are_one_line(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    """Guards against a stack trace for a wrong path, and against hours of work before it."""
    (tmp_path / "t.csv").mkdir()
    (tmp_path / "a.png").touch()
    (tmp_path / "d.csv").write_text(f"pixels\n{FACE}\n")
    refused(feredge(*(argument.replace("{here}", str(tmp_path)) for argument in arguments)), *words)


def test_a_folder_of_other_files_is_not_a_run(tmp_path: Path) -> None:
    """Guards `--out` against a folder that holds something else; its files stay as they are."""
    (tmp_path / "letter.txt").write_text("dear")
    refused(feredge("train", "demo", "--data", "drawn:70", "--out", tmp_path), "other files")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KB with nothing left on it."""
    place = tmp_path / "full"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        (place / "ballast").write_bytes(bytes(60_000))
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_one_line_and_leaves_nothing(full_disk: Path) -> None:
    """Guards against half a file under a final name when the disk is full."""
    picture = full_disk / "faces.png"
    refused(feredge("data", "info", "drawn:700", "--picture", picture), "disk is full")
    assert [path.name for path in full_disk.iterdir()] == ["ballast"]


def test_the_module_runs_as_a_program() -> None:
    """Guards `python -m feredge`, and the exit code of an error in a real process."""
    done = subprocess.run(
        [sys.executable, "-m", "feredge", "data", "info", "nowhere.csv"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "replacement"),
    [
        (["predict", "--video", "a.mp4"], "--video: expected `feredge track SOURCE`"),
        (["predict", "--data", "a.csv", "--submission", "b.csv"], "--data: expected `feredge submit CSV --out OUT`"),
        (["predict", "--face", "a.png"], "--face: expected --cropped"),
        (["export", "runs/a", "--only", "int8.onnx"], "--only: expected --files"),
        (["export", "net.h5", "--input", "64x64 -1..1"], "--input: expected --input-size and --input-range"),
        (["bench", "runs/a", "--pixels=-1..1"], "--pixels: expected --input-range"),
        (["bench", "runs/a", "--against", "b.json"], "--against: expected --baseline"),
    ],
)
def test_an_option_that_is_no_more_names_another(arguments: list[str], replacement: str) -> None:
    """Guards scripts: the error says what to write in its place."""
    done = feredge(*arguments)
    assert done.exit_code == 2 and done.stderr.splitlines()[-1] == f"Error: {replacement}"


def test_a_replacement_is_an_option_or_a_command() -> None:
    """Guards the table of options that are no more against naming one that never was."""
    for name, table in RENAMED_OPTIONS.items():
        command = main.get_command(click.Context(main), name)
        assert command is not None
        options = {option for parameter in command.params for option in parameter.opts}
        for old, new in table.items():
            assert old not in options
            assert new.startswith("`feredge ") or set(re.findall("--[a-z-]+", new)) <= options
