"""What the commands share."""

from __future__ import annotations

import pytest

from feredge.commands import shared


def test_a_log_gets_lines_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards runs under nohup and in CI: hours without a word look like a hang, and a line a step is no log either."""
    clock = iter([0.0, 10.0, 29.0, 31.0, 32.0, 40.0, 41.0])
    monkeypatch.setattr(shared.time, "monotonic", lambda: next(clock))
    with shared.bars() as progress:
        for done in range(5):
            progress("train", done, 5, f"epoch {done}")
        progress("train", 5, 5, "evaluating")
        progress("train", 5, 5, "done")
    lines = [line.split("  ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["train 0/5  epoch 0", "train 3/5  epoch 3", "train 5/5  evaluating"]
