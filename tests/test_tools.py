"""The programs in tools/: their checks, and the figures that they write."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import feredge.recipes as recipes
from feredge import files
from feredge.benchmark import Results
from feredge.data import drawn
from feredge.errors import ArtifactError
from feredge.inference.artifact import Manifest
from feredge.inference.runtimes import DEFAULT_MODEL, open_artifact
from feredge.inspection import weights
from feredge.progress import quiet
from feredge.search import space as spaces
from feredge.search.costs import Limits
from feredge.search.results import StudyResults, TrialRecord
from feredge.train.networks import build_core

TOOLS = Path(__file__).parents[1] / "tools"
MODELS_BYTES = 30_000_000  # limit of models/, which every clone downloads


@pytest.fixture
def tool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the program that the test names, imported."""
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return load_tool(request.param)


def load_tool(name: str) -> ModuleType:
    """Return a program as a module."""
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(TOOLS / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))  # type: ignore[arg-type]  # a spec with a loader
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("tool", ["reference-models"], indirect=True)
def test_check_refuses_missing_models(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards `--check` against success where there is nothing to check."""
    monkeypatch.setattr(tool, "MODELS_FOLDER", tmp_path)
    for file in tool.CHECK_FILES:
        with pytest.raises(ArtifactError, match=rf"nano/{file}: expected a file for the check of a model, found none"):
            tool.check(["nano"], drawn(70), quiet)
        (tmp_path / "nano").mkdir(exist_ok=True)
        (tmp_path / "nano" / file).write_text("{}")


@pytest.mark.parametrize("tool", ["reference-models"], indirect=True)
def test_rounds_are_ordered_by_their_requirements(tool: ModuleType) -> None:
    """Guards hours of training against a missing round, and int8 files against networks beyond their budgets."""
    max_parameters = {"nano": 100_000, "small": 1_000_000, "base": 4_000_000}
    assert set(tool.NETWORKS) == set(max_parameters) <= set(tool.ROUNDS)
    for name, item in tool.ROUNDS.items():
        order = tool.training_order(name)
        assert order[-1] == name and len(set(order)) == len(order)
        assert all(set(tool.ROUNDS[earlier].required) <= set(order[:index]) for index, earlier in enumerate(order))
        assert all(tool.ROUNDS[earlier].recipe == item.recipe for earlier in tool.lineage(name))
        recipe = tool.round_recipe(item)
        core = build_core(recipe.network, size=recipe.data.size, classes=7)
        assert recipe.name == item.recipe and core.count_params() <= max_parameters[recipe.name]
    for network in max_parameters:
        assert tool.round_recipe(tool.ROUNDS[network]) == recipes.load(tool.MODELS_FOLDER / network / "recipe.toml")
        assert [name for name in tool.ROUNDS if tool.ROUNDS[name].recipe == network][-1] == network


@pytest.mark.parametrize("tool", ["reference-models"], indirect=True)
def test_views_are_of_the_image_its_mirror_and_its_corners(tool: ModuleType) -> None:
    """Guards the cards' figures against mirrored, shifted or mislabelled views, made here in another way."""
    faces = drawn(70)
    unique = np.arange(len(faces)) % 3 > 0
    runner = open_artifact(DEFAULT_MODEL)

    def shifted(right: int, down: int) -> NDArray[np.uint8]:
        rows, columns = (np.clip(np.arange(48) + by, 0, 47) for by in (down, right))
        return faces.images[:, rows][:, :, columns]

    shifts = [(0, 0), (-2, -2), (-2, 2), (2, -2), (2, 2)]
    sums = [runner.predict(shifted(*shift)) + runner.predict(np.flip(shifted(*shift), 2).copy()) for shift in shifts]
    expected = {"single": runner.predict(faces.images), "flip": sums[0], "ten-crop": np.sum(sums, axis=0)}
    right = {view: scores.argmax(axis=1) == faces.labels for view, scores in expected.items()}
    assert tool.hits_by_view(DEFAULT_MODEL, faces, unique) == {
        view: [hits.sum(), hits[unique].sum()] for view, hits in right.items()
    }


@pytest.mark.parametrize("tool", ["ablations"], indirect=True)
def test_a_row_has_its_changes_and_teachers(tool: ModuleType) -> None:
    """Guards the ablation page: a setting at its default is a change where the recipe has another value."""
    base = recipes.load("base")
    recipe = recipes.load(
        "base", overrides=["augmentation.crop_size=0", "training.epochs=9", "distillation.weight=0.1"]
    )
    changes = ["training.epochs=9", "augmentation.crop_size=0"]
    assert tool.changes(recipe, base, distilled=False) == changes
    assert tool.changes(recipe, base, distilled=True) == [*changes, "distillation.weight=0.1"]
    assert recipes.load("base", overrides=changes) == recipes.load("base", overrides=changes[::-1])
    phrases = [
        tool.pages.describe_teachers(digests) for digests in ([], ["ab"], ["ab", "cd", "votes ef"], ["votes ef"])
    ]
    assert phrases == ["", "1 network", "2 networks and people's votes", "people's votes"]


@pytest.mark.parametrize("tool", ["published"], indirect=True)
def test_classical_timings_have_no_accuracy(tool: ModuleType) -> None:
    """Guards published.json: those rows are timed on 256 images, their accuracy is that of all, in `measured`."""
    inference = SimpleNamespace(median=0.1, p90=0.2, noisy=False)
    timed = SimpleNamespace(failure=None, accuracy=SimpleNamespace(accuracy=0.5), main_latency=inference)
    assert tool.timing(timed) == {"median": 0.1, "p90": 0.2, "noisy": False}
    entry = SimpleNamespace(bytes=1, sha256="a")
    assert tool.file_figures(entry, {"a": timed})["accuracy"] == 0.5
    assert not any("accuracy" in row for row in json.loads(tool.RESULTS_FILE.read_text())["classical"])


def test_shipped_models_are_those_that_were_measured() -> None:
    """Guards figures of another export beside the files that users get, in models/ and in the package."""
    shipped = set()
    for manifest in (TOOLS.parent / "models").glob("*/manifest.json"):
        entries = {entry.sha256 for entry in Manifest.read(manifest.parent).entries}
        rows = Results.read(manifest.parent / "results.json").rows
        mirror = {row["sha256"] for row in json.loads((manifest.parent / "mirror.json").read_text()).values()}
        assert entries <= mirror | {row.sha256 for row in rows if row.accuracy is not None and row.latency}
        shipped |= entries
    assert files.sha256(DEFAULT_MODEL) in shipped


def test_mirror_files_are_shipped_with_their_figures() -> None:
    """Guards the cards: the accuracy of the averaged views, a paired comparison of each file, and the total size."""
    folders = sorted(path.parent for path in (TOOLS.parent / "models").glob("*/manifest.json"))
    for folder in folders:
        views, figures = (json.loads((folder / name).read_text()) for name in ("views.json", "mirror.json"))
        shipped = {entry.file: entry.sha256 for entry in Manifest.read(folder).entries}
        assert {name: row["sha256"] for name, row in figures.items()} == {
            name: sha256 for name, sha256 in shipped.items() if name.startswith("dense-mirror.")
        }
        assert len(figures) == 2
        for name, row in figures.items():
            hits = views[name.replace("dense-mirror", "dense")]
            assert row["drop"]["lost"] - row["drop"]["won"] == hits["single"][1] - row["unique"]["correct"]
            assert row["accuracy"] == pytest.approx(hits["flip"][0] / row["images"], abs=0.0015)  # averages are rounded
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir()) < MODELS_BYTES


def test_shipped_integers_do_not_overflow() -> None:
    """Guards answers on x86 CPUs without VNNI, where two products of bytes are added in 16 bits."""
    for path in [*(TOOLS.parent / "models").glob("*/*.int8.onnx"), DEFAULT_MODEL]:
        kernels = weights.read(path).kernels.values()
        assert kernels
        assert all(kernel.dtype == np.int8 and 2 * 255 * np.abs(kernel.astype(int)).max() < 2**15 for kernel in kernels)


def _fuzz(keep: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    """Run tools/fuzz in this environment; return each target's state."""
    call = [sys.executable, str(TOOLS / "fuzz"), "--keep", str(keep), "--deadline", "1e12", *arguments]
    subprocess.run(call, check=True, timeout=600, stdout=subprocess.DEVNULL)
    return {path.name.split("-1.")[0][6:]: json.loads(path.read_text()) for path in keep.glob("state-*.json")}


@pytest.mark.parametrize(("group", "cases"), [("pictures", 90), ("tables", 20), ("models", 20), ("keras", 12)])
def test_damaged_files_reach_their_parsers(
    group: str, cases: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the fuzzing against cases that end at magic, lengths and digests, and every reader against these few."""
    monkeypatch.syspath_prepend(str(TOOLS))
    from fuzzing.targets import FUZZ_TARGETS

    targets = {name: target for name, target in FUZZ_TARGETS.items() if target.group == group}
    only = [f"--only={name}" for name in targets]
    states = _fuzz(tmp_path, "--group", group, "--cases", str(cases), *only)
    assert set(states) == set(targets)
    for name, state in states.items():
        assert state["failures"] == {}, name
        assert state["next"] == state["answered"] + state["refused"] == cases
        assert set(state["reached"]) == set(targets[name].parsers), name
    resumed = _fuzz(tmp_path, "--group", group, "--cases", str(cases), *only)
    assert resumed == states, "it did not resume after the last case"


PLANTED = """
import importlib.machinery, importlib.util, os, sys, time
from argparse import Namespace
from pathlib import Path

loader = importlib.machinery.SourceFileLoader("fuzz", sys.argv[1] + "/fuzz")
sys.path.insert(0, sys.argv[1])
fuzz = importlib.util.module_from_spec(importlib.util.spec_from_loader("fuzz", loader))
loader.exec_module(fuzz)
from fuzzing.target import Target
from fuzzing.targets import FUZZ_TARGETS
from feredge.errors import FeredgeError

hang = lambda: time.sleep(9)
FAULTS = [lambda: 1 / 0, lambda: os.kill(os.getpid(), 11), hang, hang, lambda: bytearray(3 << 30), hang]
fuzz.CASE_SECONDS = 1

def opened(folder):
    def run(path, data):
        number = len(list(Path(sys.argv[2]).glob("seen*")))
        Path(sys.argv[2], f"seen{number}").touch()
        if number >= len(FAULTS):
            raise FeredgeError("refused")
        FAULTS[number]()
    return run

target = Target("planted", "tables", 6, (), lambda folder: {"seed.bin": bytes(99)}, opened)
FUZZ_TARGETS["planted"] = target
options = Namespace(keep=Path(sys.argv[2]), seed=1, cases=0, deadline=1e12)
(options.keep / "work").mkdir()
fuzz.run_target(target, options, options.keep / "work")
raise SystemExit(7 if fuzz.summary(["planted"], options) == 4 else 0)
"""


def test_planted_faults_are_seen(tmp_path: Path) -> None:
    """Guards the fuzzing against passing what fails: a traceback, a crash, a hang and too much memory.

    A case that is slow once only is no failure: the machine may have been busy.
    """
    call = [sys.executable, "-c", PLANTED, str(TOOLS), str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 7, done.stderr
    outcomes = [path.read_text().strip() for path in sorted(tmp_path.glob("planted-1-?.bin.txt"))]
    assert [outcome.split(" (")[0].partition(" File")[0].strip() for outcome in outcomes] == [
        "raised ZeroDivisionError: division by zero",
        "ended the process: SIGSEGV",
        "took over 1 s",
        "raised MemoryError:",
    ]
    assert all((tmp_path / f"planted-1-{case}.bin").read_bytes() != bytes(99) for case in range(4))


@pytest.mark.parametrize("tool", ["tuned-search"], indirect=True)
def test_the_published_search_is_a_row(tool: ModuleType) -> None:
    """Guards the row of the published search: its best trial, and the draws that were replaced."""
    drawn_values = {"network.channels.length": 2, "network.channels[0]": "16", "network.channels[1]": "512"}
    trials = (
        TrialRecord(0, "00000", "misfit", {}, reason="too large"),
        TrialRecord(1, "00001", "complete", drawn_values, accuracy=0.55, seconds={"training": 3600.0}),
        TrialRecord(2, "00002", "complete", {**drawn_values, "network.channels[0]": "64"}, accuracy=0.5),
    )
    figures = tool.figures(StudyResults(1, "tuned-2024", "/data/fer2013.csv", "0" * 64, Limits(), trials))
    published = load_tool("published")
    lines = published.search_lines(json.loads(json.dumps(figures)))
    assert "| tuned-search | best trial | 0.5527 | 0.5500 | 2 | 60 min | 16, 512 |" in lines
    assert "1 draws over 400 million" in lines[-1]


@pytest.mark.parametrize("tool", ["tuned-epochs"], indirect=True)
def test_the_epoch_nearest_to_the_published_figures_is_named(tool: ModuleType) -> None:
    """Guards the section on tuned-cnn: figures by hand, and the epoch that is nearest to accuracy and loss."""
    probabilities = np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]], np.float32)
    figures = tool.figures(np.array([0, 1]), probabilities)
    assert figures == {"accuracy": 0.5, "loss": pytest.approx(1.5 * np.log(2)), "macro_f1": pytest.approx(1 / 3)}
    rows = [("30", 0.6, 1.1), ("50", 0.62, 1.6), ("75", 0.63, 2.5)]
    epochs = [{"epoch": int(epoch), "accuracy": a, "loss": loss, "macro_f1": 0.5} for epoch, a, loss in rows]
    results = {"published": tool.PUBLISHED_FIGURES, "test_images": 3589, "training_seconds": 3600.0, "epochs": epochs}
    lines = load_tool("published").epoch_lines(results)
    assert "| 50 | 0.6200 | 1.600 | 0.5000 |" in lines and lines[-1].endswith("epoch 50.")


@pytest.mark.parametrize("tool", ["search-comparison"], indirect=True)
def test_equal_winners_are_no_wins(tool: ModuleType) -> None:
    """Guards benchmarks/search.md: wins and ties are of the test faces."""
    figures = {"states": {"complete": 2, "misfit": 3, "unfinished": 1}, "validation": 0.5, "test": 0.4}
    rows = [
        {"seed": seed, "tpe": {**figures, "test": test}, "random": figures} for seed, test in enumerate((0.5, 0.4, 0.3))
    ]
    page = tool.page({"seconds": 1.0, "max_kb": 36, "rows": rows})
    assert "better for 1 of 3 seeds, equal for 1, and worse for 1." in page
    assert "| 0 | 5 | 2 | 50.0 | 50.0 | 5 | 2 | 50.0 | 40.0 |" in page


@pytest.mark.parametrize("tool", ["search-comparison"], indirect=True)
def test_both_studies_are_of_the_same_space(tool: ModuleType, tmp_path: Path) -> None:
    """Guards the comparison: the random search differs in sampler and halving only, and its space is valid."""
    path = tmp_path / "space.toml"
    path.write_text(tool.SPACE)
    tpe, random = (spaces.load(path, overrides=overrides) for overrides in tool.STUDIES.values())
    assert (tpe.settings.sampler, tpe.settings.min_epochs) == ("tpe", 3)
    assert (random.settings.sampler, random.settings.min_epochs) == ("random", 0)
    assert tpe.dimensions == random.dimensions and tpe.base == random.base


@pytest.mark.parametrize("tool", ["auto-recipes"], indirect=True)
def test_random_recipes_are_fixed_and_valid(tool: ModuleType) -> None:
    """Guards a comparison with recipes that changed after the first result, or that cannot train."""
    from feredge.api.training import override_texts

    drawn_settings = [tool.random_settings(number, 64) for number in range(1, tool.TRIALS + 1)]
    assert drawn_settings[0] == tool.random_settings(1, 64) and drawn_settings[0]["training.learning_rate"] == 0.2013
    for settings in drawn_settings:
        recipe = recipes.load("auto", overrides=["data.size=64", *override_texts(settings)])
        assert recipe.augmentation.crop_size in (0, 56)


@pytest.mark.parametrize("tool", ["auto-recipes"], indirect=True)
def test_auto_is_compared_with_the_best_recipe(tool: ModuleType) -> None:
    """Guards the figures: points, and time relative to the median of the random recipes."""
    rows = [("auto", 0.9, 30.0), ("random-1", 0.85, 10.0), ("random-2", 0.92, 20.0)]
    trials = [tool.Trial(name, {}, 0.0, test, seconds) for name, test, seconds in rows]
    figures = tool.figures(trials)
    assert (figures["best_test"], figures["auto_minus_best_pp"], figures["time_ratio"]) == (0.92, -2.0, 2.0)
    assert tool.figures(trials[:1])["random"] == []
    rows = tool.page({"seed": 1, "data": {"pets": figures, "signs": tool.figures(trials[:1])}}).splitlines()[-2:]
    assert rows == ["| pets | 90.0 | 2 | 92.0 | 88.5 | 85.0 | -2.0 | 2.00 |", "| signs | 90.0 | 0 |"]


@pytest.mark.parametrize("tool", ["auto-recipes"], indirect=True)
def test_the_page_of_auto_is_that_of_its_results(tool: ModuleType) -> None:
    """Guards benchmarks/auto.md against figures that no run gave."""
    results = json.loads(tool.RESULTS_FILE.read_text(encoding="utf-8"))
    assert tool.page(results) == tool.PAGE.read_text(encoding="utf-8")
    assert all(row["auto_minus_best_pp"] >= -2.0 and row["time_ratio"] <= 2.0 for row in results["data"].values())


@pytest.mark.parametrize("tool", ["c-library"], indirect=True)
def test_the_page_of_c_libraries_is_that_of_its_results(tool: ModuleType) -> None:
    """Guards benchmarks/c-library.md, and an exit code of 1 for a single row that is not equal."""
    results = json.loads(tool.RESULTS.read_text(encoding="utf-8"))
    assert tool.page_text(results) == tool.PAGE.read_text(encoding="utf-8")
    assert tool.all_equal(results) and results["images"] == 3589
    results["models"][0]["xnnpack"]["equal"] -= 1
    assert not tool.all_equal(results)


PROGRAMS = sorted(path for path in TOOLS.iterdir() if path.is_file() and "environment.enter()" in path.read_text())


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_programs_begin_without_packages(program: Path) -> None:
    """Guards that a program reaches environment.enter() on a bare machine: until then it imports no package."""
    pending, seen = [program], set[Path]()
    while pending:
        path = pending.pop()
        seen.add(path)
        before, _, _ = path.read_text().partition("\nenvironment.enter()\n")
        for name in _imported(ast.parse(before)):
            modules = {TOOLS / f"{name.replace('.', '/')}.py", TOOLS / name / "__init__.py"}
            pending += [module for module in modules - seen if module.is_file()]
            top = name.partition(".")[0]
            own = (TOOLS / top).is_dir() or (TOOLS / f"{top}.py").is_file()
            assert own or top in sys.stdlib_module_names, f"{path.name} imports {name}"


def _imported(program: ast.Module) -> list[str]:
    """Return the modules that a program imports at its top level."""
    names = []
    for statement in program.body:
        if isinstance(statement, ast.Import):
            names += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            names += [statement.module, *(f"{statement.module}.{alias.name}" for alias in statement.names)]
    return names
