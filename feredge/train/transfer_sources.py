"""What a training learns from besides its recipe and data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from feredge.errors import RunError
from feredge.run import RunFolder
from feredge.train.soft_labels import SoftLabels
from feredge.train.warm_start import TrainedNetwork


@dataclass(frozen=True, eq=False)
class TransferSources:
    """What a training learns from besides recipe and data: teachers, soft labels and initial weights."""

    soft_labels: SoftLabels | None
    start: TrainedNetwork | None
    teachers: tuple[TrainedNetwork, ...]

    @property
    def distills(self) -> bool:
        """Whether there is a teacher or a file of soft labels, so that the recipe's [distillation] applies."""
        return self.soft_labels is not None or bool(self.teachers)

    def to_json(self) -> dict[str, Any]:
        """Return the digests for training.json."""
        digests: dict[str, Any] = {}
        if self.soft_labels is not None:
            digests["soft_labels"] = {"sha256": self.soft_labels.sha256, "teachers": list(self.soft_labels.teachers)}
        if self.teachers:
            digests["teachers"] = [teacher.digest for teacher in self.teachers]
        if self.start is not None:
            digests["started_from"] = self.start.digest
        return digests

    def check(self, run: RunFolder) -> None:
        """Raise an error for a finished run with other soft labels, teachers or initial weights."""
        figures, digests = run.training_record(), self.to_json()
        for key, name in (("soft_labels", "soft labels"), ("teachers", "teachers"), ("started_from", "first weights")):
            if figures.get(key) != digests.get(key):
                expected, actual = (_short_digests(source.get(key)) for source in (figures, digests))
                raise RunError(f"{run.path}: was trained with {name} {expected}, found {actual}; choose another folder")


def _short_digests(entry: Any) -> str:
    """Return the first 12 digits of each digest in an entry of `TransferSources.to_json`."""
    digests = entry["sha256"] if isinstance(entry, dict) else entry or "none"
    return ", ".join(digest[:12] for digest in ([digests] if isinstance(digests, str) else digests))
