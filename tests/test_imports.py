"""What is imported when: the device side stays light, and the public names are those promised."""

from __future__ import annotations

import subprocess
import sys

import pytest

import feredge

HEAVY = "{'tensorflow', 'tf_keras', 'keras', 'sklearn', 'matplotlib', 'onnxruntime', 'cv2', 'rich'}"


def modules_after(code: str) -> str:
    """Run `code` in a fresh interpreter and return which heavy packages it brought in."""
    check = f"import sys\n{code}\nprint(sorted(set(sys.modules) & {HEAVY}))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("module", ["feredge", "feredge.cli", "feredge.recipe", "feredge.contract", "feredge.run"])
def test_light_modules_import_nothing_heavy(module: str) -> None:
    """Guards the start of every command: TensorFlow alone takes 4 to 11 seconds."""
    assert modules_after(f"import {module}") == "[]"


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["run", "--help"], ["recipes"], ["train", "nanno"]])
def test_light_commands_import_nothing_heavy(command: list[str]) -> None:
    """Guards help, and errors that need no data, against waiting for TensorFlow."""
    arguments = [*command, "--data", "nowhere.csv"] if command[0] == "train" else command
    code = f"from feredge.cli import main\ntry:\n    main({arguments!r})\nexcept SystemExit:\n    pass"
    assert modules_after(code) == "[]"


def test_every_command_is_light_until_it_works() -> None:
    """Guards `feredge COMMAND --help`, and the list of commands against a module that is not there."""
    code = "from feredge.cli import COMMANDS, main\nfound = [main.get_command(None, name).name for name in COMMANDS]"
    assert modules_after(f"{code}\nassert found == list(COMMANDS)") == "[]"


def test_public_names_all_load() -> None:
    """Guards the promise of `__all__`: every name is there, and none more is promised."""
    assert sorted(feredge.__all__) == ["CLASSES", "Face", "FeredgeError", "InputContract", "Predictor"]
    for name in feredge.__all__:
        assert getattr(feredge, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Predictr'"):
        feredge.Predictr  # noqa: B018
