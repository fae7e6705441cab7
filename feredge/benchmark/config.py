"""Benchmark settings: the presets, and the random order in which candidates are timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from feredge.benchmark.load_metrics import LoadConfig
from feredge.inference.runtimes import available_cores

TURN_SECONDS = 0.5
"""Length of a turn. The clock drifts within seconds; files whose turns lie close together drift alike."""
MAX_TURNS_PER_ROUND = 8
"""Each turn begins with a warm-up."""
TIMEOUT_SECONDS = 60.0
"""Without a response for so long, beyond the work that was requested, a worker counts as hanging."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """Benchmark settings. Each row's inference is timed for at least `seconds` and `runs`, over all rounds.

    Attributes:
        name: the preset, `quick`, `default` or `strict`; only `quick` falls short of the measurement rules.
        rounds: parts that the timed runs are divided into; rows take turns in random order within each.
        threads: thread counts, that of the main latency first.
        batches: batch sizes for throughput.
        cold_starts: fresh processes, of which the median cold start is reported.
        corrupted: test images that are evaluated with corruptions; 0 for none.
        margin: equivalence margin of the accuracy drop, in pp.
        seed: of the order of turns and of the bootstrap.
        load: sustained load and latency after idling; None for neither.
    """

    name: str
    warm_runs: int
    warm_seconds: float
    rounds: int
    seconds: float
    runs: int
    threads: tuple[int, ...]
    batches: tuple[int, ...]
    cold_starts: int
    corrupted: int
    margin: float
    seed: int
    load: LoadConfig | None = None

    @classmethod
    def preset(
        cls,
        name: str,
        *,
        margin: float = 1.0,
        seed: int = 1,
        threads: Sequence[int] = (),
        batches: Sequence[int] = (),
        load: LoadConfig | None = None,
    ) -> BenchmarkConfig:
        """Return the settings of `quick`, `default` or `strict` on this machine.

        `default` follows the measurement rules: 10 runs and 0.5 s of warm-up, 5 rounds, 10 s and 1,024 runs a row, and
        corrupted copies of 1,000 test images, of fewer where files are slow. `strict` times 600 s a row and corrupts
        every image; `quick` times 0.5 s at one thread.

        Args:
            threads: thread counts in addition to 1, that of the main latency; all cores by default.
            batches: batch sizes for throughput; 32 by default.
            load: sustained load and latency after idling.
        """
        quick = name == "quick"
        return cls(
            name=name,
            warm_runs=10,
            warm_seconds=0.05 if quick else 0.5,
            rounds=5,
            seconds={"quick": 0.5, "default": 10.0, "strict": 600.0}[name],
            runs=100 if quick else 1024,
            threads=tuple(sorted({1, *(threads or (() if quick else (available_cores(),)))})),
            batches=tuple(sorted(set(batches))) or (() if quick else (32,)),
            cold_starts=1 if quick else 3,
            corrupted={"quick": 0, "default": 1000, "strict": 1_000_000}[name],
            margin=margin,
            seed=seed,
            load=load,
        )

    @property
    def turns_per_round(self) -> int:
        """Number of turns that each candidate has in a round."""
        return min(MAX_TURNS_PER_ROUND, max(1, round(self.seconds / self.rounds / TURN_SECONDS)))

    def turn_order(self, candidates: int) -> list[list[int]]:
        """Return the candidates' indices in timing order: a new permutation for each turn of each round."""
        random = np.random.default_rng(self.seed)
        return [random.permutation(candidates).tolist() for _ in range(self.rounds * self.turns_per_round)]
