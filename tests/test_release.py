"""tools/release: what is in a release, and when a version may be tagged; the project's own metadata."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import feredge
from feredge import files
from feredge.diagnostics.packages import EXTRA_PURPOSES
from feredge.inference.runtimes import DEFAULT_MODEL

ROOT = Path(__file__).parents[1]
EXTRAS_OF_DEVELOPERS = {"dev", "docs"}


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give tools/release, imported."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("release", str(ROOT / "tools" / "release"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_distributions_have_the_same_bytes_twice(release: ModuleType, tmp_path: Path) -> None:
    """Guards reproducible builds, the wheel's size, and that it holds only the package, its version and licence."""
    wheel, sdist = release.distributions.build(ROOT, tmp_path, "1700000000")
    assert wheel.stat().st_size < release.distributions.MAX_WHEEL_BYTES and sdist.name.endswith(".tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith("/METADATA"))
        headers = HeaderParser().parsestr(archive.read(metadata).decode())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"feredge"}
    assert any(name.endswith("licenses/LICENSE") for name in names) and "feredge/models/nano.int8.onnx" in names
    assert headers["Version"] == feredge.__version__


def test_a_build_that_differs_is_refused(release: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the comparison: a build that depends on the time, or on its folder, is an error."""

    def build(command: list[str], **options: object) -> None:
        folder = Path(command[-1])
        for name in ("feredge-1.whl", "feredge-1.tar.gz"):
            (folder / name).write_text(str(folder))

    monkeypatch.setattr(release.distributions.subprocess, "run", build)
    with pytest.raises(SystemExit, match="expected the same bytes twice"):
        release.distributions.build(ROOT, tmp_path, "0")


def test_bill_of_materials_names_every_locked_package(release: ModuleType, tmp_path: Path) -> None:
    """Guards the bill against packages that it leaves out, and the digests against another file than they name."""
    path = release.bill.write_bill(ROOT, tmp_path, "1.2.3")
    bill = json.loads(path.read_text())
    locked = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert {(part["name"], part["version"]) for part in bill["components"]} == set(locked)
    assert bill["metadata"]["component"]["version"] == "1.2.3"
    release.bill.write_digests(ROOT, tmp_path, [path])
    lines = dict(line.split("  ")[::-1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines())
    assert lines[path.name] == files.sha256(path)
    assert lines["../models/nano/dense.int8.onnx"] == files.sha256(DEFAULT_MODEL)


def test_notes_are_a_section_or_a_draft_of_it(release: ModuleType, tmp_path: Path) -> None:
    """Guards release notes: fragments by kind, the version's own section, and no other version's."""
    (tmp_path / "changes").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "changes" / "template.md.jinja", tmp_path / "changes")
    text = "# Changelog\n\n<!-- towncrier -->\n\n## 1.1.0 - 2030-01-01\n\n### Added\n\n* b\n\n## 1.0.0 - x\n\n* a\n"
    (tmp_path / "CHANGELOG.md").write_text(text)
    assert release.notes.release_notes(tmp_path, "1.1.0") == "### Added\n\n* b"
    assert release.notes.release_notes(tmp_path, "1.0.0") == "* a"
    assert release.notes.changelog_section(tmp_path, "1.1") is None
    (tmp_path / "changes" / "+a.fixed.md").write_text("A crash.\n")
    draft = release.notes.release_notes(tmp_path, "2.0.0")
    assert draft.startswith("## 2.0.0 - ") and draft.endswith("### Fixed\n\n* A crash.")


def test_only_a_finished_version_is_tagged(
    release: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the tag: a clean tree, a new version, and its changes in CHANGELOG.md."""
    (tmp_path / "changes").mkdir()
    (tmp_path / "CHANGELOG.md").write_text("## 1.0.0 - 2030-01-01\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "a"], [*identity, "tag", "v0.9.0"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    monkeypatch.setattr(release.environment, "ROOT", tmp_path)
    assert release.tag_problem("1.0.0") == ""
    assert "expected a new version, found the tag v0.9.0" in release.tag_problem("0.9.0")
    assert "expected CHANGELOG.md with 2.0.0" in release.tag_problem("2.0.0")
    (tmp_path / "CHANGELOG.md").write_text("## 1.0.0 - not released yet\n")
    subprocess.run(["git", *identity, "commit", "-qam", "b"], cwd=tmp_path, check=True)
    assert "found 'not released yet'" in release.tag_problem("1.0.0")
    (tmp_path / "new").touch()
    assert "expected a working tree without changes" in release.tag_problem("1.0.0")


def test_readme_has_the_lines_that_a_release_runs(release: ModuleType) -> None:
    """Guards the trial of a release: the Predictor's block in README, as it stands."""
    block = release.distributions.PREDICTOR_BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert block is not None and "Predictor()" in block[1]


def test_metadata_names_the_pythons_and_extras_that_there_are() -> None:
    """Guards classifiers, the lock's range and doctor's list of extras against each other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    minors = {int(minor) for minor in re.findall(r"Python :: 3\.(\d+)", "\n".join(project["classifiers"]))}
    assert project["requires-python"] == f">=3.{min(minors)},<3.{max(minors) + 1}"
    assert set(project["optional-dependencies"]) == set(EXTRA_PURPOSES) | EXTRAS_OF_DEVELOPERS


def test_workflows_have_least_rights_and_every_python() -> None:
    """Guards the workflows, which have not run: versions of Python, permissions, and actions by version."""
    workflows = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
    assert set(workflows) == {"check", "release"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pythons = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert workflows["check"]["jobs"]["test"]["strategy"]["matrix"]["python"] == pythons
    for workflow in workflows.values():
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            used = [step["uses"] for step in job["steps"] if "uses" in step]
            assert all(re.fullmatch(r"[\w-]+/[\w-]+@(release/)?v\d+", name) for name in used)


@pytest.mark.parametrize("path", sorted((ROOT / "changes").glob("*.md")), ids=lambda path: path.name)
def test_fragments_have_a_kind(path: Path) -> None:
    """Guards changes against being left out of the notes without a word."""
    towncrier = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["towncrier"]
    kinds = {kind["directory"] for kind in towncrier["type"]}
    assert path.name == "README.md" or (path.name.split(".")[-2] in kinds and path.read_text().strip())


def test_the_version_stands_in_one_place() -> None:
    """Guards against a second version: pyproject.toml takes it from feredge/__init__.py."""
    command = [sys.executable, "-m", "hatchling", "version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == feredge.__version__
