"""The progress that a training reports."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from feredge.train import loop


def test_the_remaining_time_leaves_out_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the first minutes against an estimate of hours: the first step compiles the graph, for 30 s here."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    notes: list[str] = []
    reporter = loop._ProgressReporter(lambda task, done, total, note="": notes.append(note), epochs=2)
    for epoch in range(2):
        reporter.start_epoch()
        for step in range(1, 11):
            clock.now += 30 if (epoch, step) == (0, 1) else 1
            reporter.report(epoch, step / 10, images=step * 64)
    assert notes[:2] == ["epoch 1/2", "epoch 1/2, 64 images/s, 18 s left"]
    assert notes[-2:] == ["epoch 2/2, 64 images/s, 1 s left", "epoch 2/2, 64 images/s, 0 s left"]
