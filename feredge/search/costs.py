"""What a candidate's files cost on a device, and the limits of a study."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FileCost:
    """The costs of one exported file of a candidate, which do not depend on its weights.

    Attributes:
        file: `int8.tflite`.
        size_bytes: on disk, with its metadata.
        latency_ms: of one image on one thread; None where it was not measured.
        instructions: of one image on the study's emulated core; None where they were not counted.
        ram_bytes: of the activations that live at once in the int8 graph.
        multiply_adds: of one image.
    """

    file: str
    size_bytes: int
    ram_bytes: int
    multiply_adds: int
    latency_ms: float | None = None
    instructions: float | None = None


@dataclass(frozen=True)
class LimitKind:
    """A kind of limit: the field of FileCost that it bounds, its unit, and how a value is written."""

    cost: str
    unit: str
    scale: float
    pattern: str

    def text(self, value: float) -> str:
        """Return a value in the limit's unit: `96.1 KB`."""
        return f"{self.pattern.format(value)} {self.unit}"


LIMIT_KINDS = {
    "max_kb": LimitKind("size_bytes", "KB", 1e3, "{:,.1f}"),
    "max_ms": LimitKind("latency_ms", "ms", 1.0, "{:.3g}"),
    "max_ram_kb": LimitKind("ram_bytes", "KB of RAM", 1e3, "{:,.1f}"),
    "max_macs": LimitKind("multiply_adds", "multiply-adds", 1.0, "{:,.0f}"),
    "max_instructions": LimitKind("instructions", "instructions", 1.0, "{:,.0f}"),
}
"""By the field of Limits."""


@dataclass(frozen=True)
class Limits:
    """Upper bounds of a candidate's costs; None sets no bound.

    Attributes:
        max_kb: file size, in units of 1,000 bytes.
        max_ms: latency of one image on one thread, in ms.
        max_ram_kb: memory of the activations, in units of 1,000 bytes.
        max_macs: multiply-adds of one image.
        max_instructions: instructions of one image.
    """

    max_kb: float | None = None
    max_ms: float | None = None
    max_ram_kb: float | None = None
    max_macs: float | None = None
    max_instructions: float | None = None

    def violations(self, cost: FileCost) -> dict[str, float]:
        """Return by how much of each limit a file exceeds it; 0 or less where it fits.

        A cost that is not known yet is left out.
        """
        violations = {}
        for name, kind in LIMIT_KINDS.items():
            limit, value = getattr(self, name), getattr(cost, kind.cost)
            if limit is not None and value is not None:
                violations[name] = value / kind.scale / limit - 1.0
        return violations

    def excess(self, cost: FileCost) -> float:
        """Return the largest violation, or 0."""
        return max([0.0, *self.violations(cost).values()])

    def reason(self, cost: FileCost) -> str:
        """Return why a file does not fit: `int8.tflite: 123.4 KB, over 100`; empty if it fits."""
        reasons = [
            f"{LIMIT_KINDS[name].text(getattr(cost, LIMIT_KINDS[name].cost) / LIMIT_KINDS[name].scale)}, "
            f"over {getattr(self, name):,.10g}"
            for name, violation in self.violations(cost).items()
            if violation > 0.0
        ]
        return f"{cost.file}: {'; '.join(reasons)}" if reasons else ""

    def describe(self) -> str:
        """Return all limits as text: `at most 100 KB, 0.1 ms`; empty without one."""
        limits = [
            f"{limit:,.10g} {kind.unit}"
            for name, kind in LIMIT_KINDS.items()
            if (limit := getattr(self, name)) is not None
        ]
        return f"at most {', '.join(limits)}" if limits else ""


def best_file(costs: Iterable[FileCost], limits: Limits) -> FileCost:
    """Return the file that exceeds the limits least; of those that fit, the fastest, then the smallest."""
    return min(
        costs,
        key=lambda cost: (
            limits.excess(cost),
            float("inf") if cost.latency_ms is None else cost.latency_ms,
            cost.size_bytes,
        ),
    )


def costs_to_json(costs: Iterable[FileCost]) -> list[dict[str, Any]]:
    """Return costs as plain values."""
    return [dataclasses.asdict(cost) for cost in costs]


def costs_from_json(values: Iterable[dict[str, Any]]) -> tuple[FileCost, ...]:
    """Return the costs that `costs_to_json` wrote."""
    return tuple(FileCost(**value) for value in values)
