"""The results of a study: its trials, the front of accuracy, size and latency, importances and rank correlations."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from feredge import dataclass_io, files
from feredge.errors import FeredgeError, RecipeError, RunError, one_line
from feredge.search.costs import FileCost, Limits, best_file
from feredge.search.study import StudyFolder, StudySettings

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

TrialState = Literal["complete", "pruned", "misfit", "failed", "unfinished"]
RESULTS_SCHEMA = 1
MIN_RANKED_TRIALS = 4
"""Trials that a rank correlation or an importance needs."""
FANOVA_SEED = 0


class NoCandidateError(FeredgeError):
    """No candidate fits the limits."""

    exit_code = 1


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes:
        number: of the trial in its study.
        name: of its run folder.
        state: `complete`; `pruned` at a rung; a `misfit` that does not fit the limits and was not trained; `failed`,
            and enqueued again under another number; or `unfinished`.
        parameters: what was drawn, by key; choices as JSON.
        costs: of its files; empty where the draw was no network.
        reason: why it was not trained, or ended early.
        accuracy: of the float model on the validation images, averaged over shifted views; None unless complete.
        rungs: accuracy after these epochs, by epoch.
        seconds: by part: `measuring`, `training`, `storage`.
        starts: how often it was started: more than once after a kill or a pause.
        pauses: how often it was stopped and was not killed.
    """

    number: int
    name: str
    state: TrialState
    parameters: dict[str, Any]
    costs: tuple[FileCost, ...] = ()
    reason: str = ""
    accuracy: float | None = None
    rungs: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    starts: int = 0
    pauses: int = 0

    def value(self, name: str) -> Any:
        """Return a parameter's value; None where it was not drawn."""
        value = self.parameters.get(name)
        with suppress(ValueError):  # the file may have been edited
            return json.loads(value) if isinstance(value, str) else value
        return value

    def file(self, limits: Limits) -> FileCost | None:
        """Return the file that fits the limits best; None where none was measured."""
        return best_file(self.costs, limits) if self.costs else None


@dataclass(frozen=True)
class StudyResults:
    """All trials of a study.

    Attributes:
        schema: of the file.
        space: name of the space.
        source: of the data.
        digest: SHA-256 of the data.
        limits: of the candidates' costs.
        trials: by number.
        importances: share of the variance of the accuracy that each parameter explains (fANOVA; Hutter et al., 2014),
            over the completed trials; empty for few trials.
    """

    schema: int
    space: str
    source: str
    digest: str
    limits: Limits
    trials: tuple[TrialRecord, ...]
    importances: dict[str, float] = field(default_factory=dict)

    @property
    def complete(self) -> list[TrialRecord]:
        """The trials that were trained to their end."""
        return [trial for trial in self.trials if trial.state == "complete"]

    @property
    def best(self) -> TrialRecord | None:
        """The most accurate trial; the first of several."""
        return max(self.complete, key=lambda trial: trial.accuracy or 0.0, default=None)

    @property
    def front(self) -> list[TrialRecord]:
        """The trials than which no other is at least as accurate, small and fast; the most accurate first."""
        front = [
            one for one in self.complete if not any(_dominates(other, one, self.limits) for other in self.complete)
        ]
        return sorted(front, key=lambda trial: (-(trial.accuracy or 0.0), trial.number))

    @property
    def kills(self) -> int:
        """How often a trial was killed and taken up again."""
        return sum(max(0, trial.starts - 1 - trial.pauses) for trial in self.trials)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of all trials, by part."""
        parts = dict.fromkeys(part for trial in self.trials for part in trial.seconds)
        return {part: sum(trial.seconds.get(part, 0.0) for trial in self.trials) for part in parts}

    def rank_correlations(self) -> dict[int, tuple[float, int]]:
        """Return by epoch of a rung Spearman's correlation of the accuracy there with the final one, and the trials."""
        from scipy.stats import spearmanr

        correlations = {}
        for epoch in sorted({int(epoch) for trial in self.complete for epoch in trial.rungs}):
            pairs = [(one.rungs[str(epoch)], one.accuracy) for one in self.complete if str(epoch) in one.rungs]
            if len(pairs) >= MIN_RANKED_TRIALS and all(len(set(values)) > 1 for values in zip(*pairs, strict=True)):
                correlations[epoch] = float(spearmanr(*zip(*pairs, strict=True)).statistic), len(pairs)
        return correlations

    def nearest_misfit(self) -> str:
        """Return the candidate that exceeds the limits least, as text; empty where none was measured."""
        measured = [
            (cost, trial) for trial in self.trials if trial.state == "misfit" and (cost := trial.file(self.limits))
        ]
        if not measured:
            return ""
        cost, trial = min(measured, key=lambda pair: self.limits.excess(pair[0]))
        return f"trial {trial.number}, {self.limits.reason(cost) or trial.reason}"

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a trial: its costs, accuracy and parameters."""
        names = dict.fromkeys(name for trial in self.trials for name in trial.parameters)
        front = {trial.number for trial in self.front}
        return [self._row(trial, names, trial.number in front) for trial in self.trials]

    def _row(self, trial: TrialRecord, names: Iterable[str], on_front: bool) -> dict[str, Any]:
        file = trial.file(self.limits)
        costs = {item.name: None if file is None else getattr(file, item.name) for item in dataclasses.fields(FileCost)}
        return {
            "trial": trial.number,
            "state": trial.state,
            "reason": trial.reason,
            "accuracy": trial.accuracy,
            "on_front": on_front,
            **costs,
            "epochs_at_rungs": max(map(int, trial.rungs), default=0),
            "training_seconds": trial.seconds.get("training"),
            "starts": trial.starts,
            **{name: trial.value(name) for name in names},
        }

    def to_csv(self) -> str:
        """Return `rows` as csv."""
        rows, text = self.rows(), io.StringIO()
        writer = csv.DictWriter(text, rows[0] if rows else ["trial"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def write(self, folder: StudyFolder) -> None:
        """Write the results of a study, and the csv."""
        files.write_text(folder.csv, self.to_csv())
        files.write_json(folder.results, dataclasses.asdict(self))

    @classmethod
    def read(cls, folder: StudyFolder) -> StudyResults:
        """Return the results that `write` wrote.

        Raises:
            RunError: none, or damaged ones.
        """
        try:
            table = json.loads(folder.results.read_text(encoding="utf-8"))
            results: StudyResults = dataclass_io.read(cls, table, str(folder.results))
        except OSError as error:
            raise RunError(f"{folder.path}: expected the results of a search, found none ({error.strerror})") from error
        except (ValueError, RecursionError, RecipeError) as error:
            raise RunError(f"{folder.results}: expected results, cannot be read ({one_line(error)})") from error
        if results.schema != RESULTS_SCHEMA:
            raise RunError(f"{folder.results}: expected schema {RESULTS_SCHEMA}, found {results.schema}")
        return results


def _dominates(trial: TrialRecord, other: TrialRecord, limits: Limits) -> bool:
    """Return whether `trial` is at least as accurate, small and fast as `other`, and better in one of the three."""
    better = _objectives(trial, limits), _objectives(other, limits)
    return better[0] != better[1] and all(first <= second for first, second in zip(*better, strict=True))


def _objectives(trial: TrialRecord, limits: Limits) -> tuple[float, float, float]:
    """Return what is minimized: error, size and latency, or instructions where no latency was measured."""
    file = trial.file(limits)
    size, time = math.inf, math.inf
    if file is not None:
        size, time = file.size_bytes, file.latency_ms or file.instructions or math.inf
    return 1.0 - (trial.accuracy or 0.0), size, time


def collect_results(
    settings: StudySettings, trials: Sequence[FrozenTrial], importances: dict[str, float] | None = None
) -> StudyResults:
    """Return the results of Optuna's trials."""
    records = tuple(_record(trial) for trial in trials)
    return StudyResults(
        RESULTS_SCHEMA,
        settings.parsed_space.name,
        settings.source,
        settings.digest,
        settings.limits,
        records,
        importances or {},
    )


def _record(trial: FrozenTrial) -> TrialRecord:
    from optuna.trial import TrialState as State

    attributes = trial.user_attrs
    misfit = attributes.get("misfit")
    states: dict[Any, TrialState] = {State.COMPLETE: "complete", State.PRUNED: "pruned", State.FAIL: "failed"}
    state = "misfit" if misfit is not None else states.get(trial.state, "unfinished")
    reason = misfit or attributes.get("reason", "")
    if state == "pruned" and not reason:
        reason = f"ended at epoch {max(trial.intermediate_values, default=0)}"
    return TrialRecord(
        trial.number,
        str(attributes.get("folder", f"{trial.number:05}")),
        state,
        dict(trial.params),
        tuple(FileCost(**cost) for cost in attributes.get("costs", ())),
        reason,
        attributes.get("accuracy") if state == "complete" else None,
        {str(epoch): value for epoch, value in sorted(trial.intermediate_values.items())},
        attributes.get("seconds", {}),
        attributes.get("starts", 0),
        attributes.get("pauses", 0),
    )


def importances(study: Study) -> dict[str, float]:
    """Return the importance of each parameter that every completed trial has; empty for few or equal trials."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState as State

    trials = study.get_trials(deepcopy=False, states=[State.COMPLETE])
    if len(trials) < MIN_RANKED_TRIALS or len({trial.value for trial in trials}) < 2:
        return {}
    values = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=FANOVA_SEED))
    return {name: float(value) for name, value in values.items()}
