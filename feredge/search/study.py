"""The study folder: settings, journal, one run folder a trial, and its results, under fixed names."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from feredge import dataclass_io, files
from feredge.errors import RecipeError, RunError, one_line
from feredge.paths import STUDY_FILE
from feredge.run import RunFolder
from feredge.search.costs import Limits
from feredge.search.space import Space, parse

try:
    import fcntl
except ImportError:  # Windows: a study has one process there
    fcntl = None  # type: ignore[assignment]

STUDY_SCHEMA = 1


@dataclass(frozen=True)
class StudySettings:
    """All that the trials of a study depend on; study.json.

    Attributes:
        schema: of the file.
        space: the space's TOML table, overrides applied.
        source: of the data, as it was given.
        digest: SHA-256 of the data.
        excluded_rows: SHA-256 of the rows left out of training and validation; empty without.
        seed: of the sampler.
        limits: upper bounds of a candidate's costs.
        device: address of the device that latencies are measured on; empty for this machine.
        core: Arm core whose instructions are counted; empty for none.
        start: digest of the network that trainings start from; empty for none.
        teachers: digests of the teachers.
        storage: where its trials are.
    """

    schema: int
    space: dict[str, Any]
    source: str
    digest: str
    excluded_rows: str = ""
    seed: int = 1
    limits: Limits = field(default_factory=Limits)
    device: str = ""
    core: str = ""
    start: str = ""
    teachers: tuple[str, ...] = ()
    storage: Literal["journal", "database"] = "journal"

    @cached_property
    def parsed_space(self) -> Space:
        """The space."""
        return parse(self.space, "the study's space")

    @property
    def identity(self) -> str:
        """SHA-256 of all settings but the path of the data."""
        table = {**dataclasses.asdict(self), "source": "", "space": self.parsed_space.digest}
        return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()

    @property
    def study_name(self) -> str:
        """Name of the study in its storage."""
        return f"feredge-{self.parsed_space.name}-{self.identity[:16]}"


@dataclass(frozen=True)
class StudyFolder:
    """Paths of one study."""

    path: Path

    @property
    def settings_file(self) -> Path:
        """The settings; a folder with it is a study."""
        return self.path / STUDY_FILE

    @property
    def journal(self) -> Path:
        """Optuna's journal, unless the study is in a database."""
        return self.path / "journal.log"

    @property
    def results(self) -> Path:
        """All trials, as they were after the last one."""
        return self.path / "trials.json"

    @property
    def csv(self) -> Path:
        """The same, one csv row a trial."""
        return self.path / "trials.csv"

    @property
    def final_evaluation(self) -> Path:
        """Results of the last training of the best candidates."""
        return self.path / "final-evaluation.json"

    @property
    def page(self) -> Path:
        """The study page."""
        return self.path / "report.html"

    def trial(self, name: str) -> RunFolder:
        """Return the run folder of a trial; RunError for a name in a storage that is none."""
        return RunFolder(self.path / "trials" / _checked_name(name))

    def finalist(self, name: str, seed: int) -> RunFolder:
        """Return the run folder of a finalist's training with a seed."""
        return RunFolder(self.path / "finalists" / _checked_name(name) / f"seed-{seed}")

    def settings(self) -> StudySettings:
        """Return the settings.

        Raises:
            RunError: no study, or one of another schema.
        """
        try:
            table = json.loads(self.settings_file.read_text(encoding="utf-8"))
            if not isinstance(table, dict) or table.get("schema") != STUDY_SCHEMA:
                raise RunError(f"{self.settings_file}: expected a study of schema {STUDY_SCHEMA}, found another file")
            settings: StudySettings = dataclass_io.read(StudySettings, table, str(self.settings_file))
            settings.parsed_space  # noqa: B018 - raises for a space that is none
        except OSError as error:
            raise RunError(f"{self.path}: expected a study, found no {STUDY_FILE} ({error.strerror})") from error
        except (ValueError, RecursionError, RecipeError) as error:
            raise RunError(f"{self.settings_file}: expected a study, cannot be read ({one_line(error)})") from error
        return settings

    @classmethod
    def claim(cls, path: Path, settings: StudySettings) -> StudyFolder:
        """Create the folder of a study, or open the existing one.

        Raises:
            RunError: another study, or files that are none.
        """
        folder = cls(path)
        if folder.settings_file.exists():
            _check_same(folder, folder.settings(), settings)
            return folder
        if path.exists() and not (path.is_dir() and all(one.name.startswith(".") for one in path.iterdir())):
            raise RunError(f"{path}: expected a study or an empty folder, found other files")
        files.write_json(folder.settings_file, dataclass_io.to_plain(settings))
        return folder

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Wait for the study's lock, which orders the workers on one machine, and hold it during the block."""
        self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDONLY) if fcntl is not None else -1
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            if fcntl is not None:
                os.close(handle)


def _checked_name(name: str) -> str:
    """Return the name of a trial's folder, after checking that it is a number: a storage may be anyone's."""
    if re.fullmatch(r"[0-9]{5,9}", name) is None:
        raise RunError(f"expected a trial's number as the name of its folder, found {name!r:.80}")
    return name


def _check_same(folder: StudyFolder, existing: StudySettings, settings: StudySettings) -> None:
    """Raise RunError, which names the first difference, unless the settings are those of the study."""
    names = {"digest": "data", "excluded_rows": "excluded rows", "start": "first weights"}
    if existing.parsed_space.digest != settings.parsed_space.digest:
        expected, actual = existing.parsed_space.name, settings.parsed_space.name
        actual += " with other values" * (actual == expected)
        raise RunError(f"{folder.path}: a study of the space {expected}, found {actual}; choose another folder")
    for item in dataclasses.fields(StudySettings):
        before, now = getattr(existing, item.name), getattr(settings, item.name)
        if item.name not in ("space", "source") and before != now:
            name = names.get(item.name, item.name)
            raise RunError(
                f"{folder.path}: a study with {name} {_short(before)}, found {_short(now)}; choose another folder"
            )


def _short(value: Any) -> str:
    """Return a setting for a message."""
    text = value.describe() if isinstance(value, Limits) else str(value)
    return (text[:12] if len(text) == 64 else text) or "none"
