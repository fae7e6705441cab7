"""What is imported when: the device side stays light, and the public names are those promised."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import feredge
from feredge.cli import COMMAND_SUMMARIES

HEAVY = "{'tensorflow', 'tf_keras', 'keras', 'sklearn', 'matplotlib', 'onnxruntime', 'cv2', 'rich', 'jinja2'}"

ORDER = (
    *("callable_module", "errors", "console", "files", "programs", "progress", "dataclass_io", "inference", "recipes"),
    *("data", "run", "paths", "predictions", "plots", "inspection", "keras", "train", "compress", "importing"),
    *("export", "bundles", "baselines", "benchmark", "report", "devices", "search", "label", "serve", "diagnostics"),
    *("api", "commands"),
)
"""From the ground up: a room imports only what stands before it. `commands` is cli.py too."""
TENSORFLOW = ("keras", "train", "compress", "importing", "export", "search")
"""Imported only by each other, by `api` and by the command line."""
WITHOUT_TENSORFLOW = "export.c"
"""A folder of one of these rooms that any later room may import."""
OUTSIDES = {
    ("benchmark", "baselines"): {"baselines"},
    ("devices", "baselines"): set[str](),
    ("report", "benchmark"): {
        *("benchmark.formatting", "benchmark.load_metrics", "benchmark.metrics", "benchmark.results"),
    },
}
"""All that one room may import of another: the benchmark has runners, reports have results."""


def modules_after(code: str) -> str:
    """Run `code` in a fresh interpreter and return which heavy packages it brought in."""
    check = f"import sys\n{code}\nprint(sorted(set(sys.modules) & {HEAVY}))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "module", ["feredge", "feredge.cli", "feredge.recipes.schema", "feredge.inference.contract", "feredge.run"]
)
def test_light_modules_import_nothing_heavy(module: str) -> None:
    """Guards the start of every command: TensorFlow alone takes 4 to 11 seconds."""
    assert modules_after(f"import {module}") == "[]"


@pytest.mark.parametrize(
    "command", [["--help"], ["--version"], ["run", "--help"], ["doctr"], ["recipes"], ["train", "nanno"]]
)
def test_light_commands_import_nothing_heavy(command: list[str]) -> None:
    """Guards help, and errors that need no data, against waiting for TensorFlow."""
    arguments = [*command, "--data", "nowhere.csv"] if command[0] == "train" else command
    code = f"from feredge.cli import main\ntry:\n    main({arguments!r})\nexcept SystemExit:\n    pass"
    assert modules_after(code) == "[]"


def test_every_command_is_light_until_it_works() -> None:
    """Guards `feredge COMMAND --help`, and the list of commands against a module that is not there."""
    code = (
        "from feredge.cli import COMMAND_SUMMARIES, main\n"
        "names = [main.get_command(None, name).name for name in COMMAND_SUMMARIES]\n"
        "assert names == list(COMMAND_SUMMARIES)"
    )
    assert modules_after(code) == "[]"


def test_names_of_packages_are_functions_too() -> None:
    """Guards `feredge.train(...)` beside `from feredge.train import ...`, without anything heavy."""
    code = (
        "import feredge, inspect\nassert callable(feredge.train) and callable(feredge.run)\n"
        "from feredge.recipes import load\nassert feredge.recipes() and load('nano').name == 'nano'\n"
        "assert 'overrides' in inspect.signature(feredge.train).parameters"
    )
    assert modules_after(code) == "[]"


def test_every_command_has_its_function() -> None:
    """Guards the rule that a notebook can do all that the command line does."""
    names = {"bench": "benchmark", "data": "data_info"}
    missing = [name for name in COMMAND_SUMMARIES if names.get(name, name.replace("-", "_")) not in feredge.__all__]
    assert not missing


def test_public_names_all_load() -> None:
    """Guards the promise of `__all__`: every name is there, and none more is promised."""
    functions = {
        *(
            "baselines",
            "benchmark",
            "bundle",
            "calibrate",
            "data_check",
            "data_info",
            "doctor",
            "estimate_search",
            "export",
        ),
        "from_torch",
        *("inspect", "label", "models", "plots", "predict", "recipes", "report", "run", "search", "select"),
        *("sensitivity", "serve", "soft_labels", "study", "submit", "track", "train", "verify"),
    }
    types = {"Baseline", "Cancelled", "Device", "Face", "FeredgeError", "ForeignModel", "InputContract", "Predictor"}
    assert set(feredge.__all__) == functions | types | {
        "CLASSES",
        "PredictorOptions",
        "TrackOptions",
        "TrainOptions",
        "UNSURE_LABEL",
    }
    for name in feredge.__all__:
        assert getattr(feredge, name) is not None
    assert all(callable(getattr(feredge, name)) for name in functions)
    with pytest.raises(AttributeError, match="no attribute 'Predictr'"):
        feredge.Predictr  # noqa: B018


def imported(package: Path) -> Iterator[tuple[str, str, str]]:
    """Give a package's imports of its own rooms: as (room, other room, module), e.g. `benchmark.results`."""
    for path in sorted(package.rglob("*.py")):
        room = _room(path.relative_to(package).parts[0].removesuffix(".py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{name}" for name in names]
            for parts in (name.split(".")[1:] for name in names if name.startswith("feredge.")):
                while parts and not any(package.joinpath(*parts).with_suffix(end).exists() for end in ("", ".py")):
                    parts.pop()  # what a module defines
                if parts and _room(parts[0]) != room and not room.startswith("__"):
                    yield room, _room(parts[0]), ".".join(parts)


def _room(name: str) -> str:
    return {"cli": "commands"}.get(name, name)


def wrong(package: Path) -> list[tuple[str, str]]:
    """Return the imports that point the wrong way."""
    return [
        (room, module)
        for room, other, module in imported(package)
        if ORDER.index(other) > ORDER.index(room)
        or (
            other in TENSORFLOW
            and room not in (*TENSORFLOW, "api", "commands")
            and not module.startswith(f"{WITHOUT_TENSORFLOW}.")
        )
        or module not in OUTSIDES.get((room, other), {module})
    ]


def test_imports_point_one_way() -> None:
    """Guards the order of rooms: contract, artifact, runtime, predictor; data, train, export; and that benchmark,
    baselines and reports reach neither TensorFlow nor each other's insides.
    """
    assert wrong(Path(feredge.__file__).parent) == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("inference", "from feredge.recipes import load"),
        ("benchmark", "def late():\n    from feredge import train"),
        ("benchmark", "from feredge.baselines import fitting"),
        ("report", "import feredge.benchmark.harness"),
        ("bundles", "from feredge.export import exporter"),
        ("inspection", "def late():\n    from feredge.compress import pruning"),
        ("export", "from feredge.benchmark.results import Row"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, room: str, line: str) -> None:
    """Guards the test above against finding nothing."""
    there = (
        "recipes",
        "train",
        "compress",
        "export/exporter",
        "benchmark/results",
        "benchmark/harness",
        "baselines/fitting",
    )
    for module in (*there, f"{room}/new"):
        (tmp_path / module).parent.mkdir(exist_ok=True)
        (tmp_path / module).with_suffix(".py").write_text(line if module.endswith("new") else "")
    assert [found for found, _ in wrong(tmp_path)] == [room]
