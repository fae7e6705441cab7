"""Figures and verdicts as people read them, on pages, in tables and in messages."""

from __future__ import annotations

from feredge.benchmark.metrics import Accuracy, Drop, Timing, Verdict

VERDICTS: dict[Verdict, tuple[str, str]] = {
    "drop": ("lost", "drop"),
    "no evidence of a drop": ("unsure", "no evidence of a drop"),
    "equivalent within the margin": ("kept", "equivalent"),
}
"""A page's style for each verdict, and the words of tables; the margin stands below them."""


def percent(accuracy: Accuracy | None) -> str:
    """Return `63.83`, nothing where there is none."""
    return f"{100 * accuracy.accuracy:.2f}" if accuracy else ""


def clocked(timing: Timing | None) -> str:
    """Return the median in ms, as `~0.353` where rounds differ; nothing where there is none."""
    return f"{'~' if timing.noisy else ''}{timing.median:.3f}" if timing else ""


def signed(value: float, digits: int = 2) -> str:
    """Return a number with its sign, and a true minus."""
    return minus(f"{value:+.{digits}f}")


def interval(drop: Drop) -> str:
    """Return a drop as `+0.31 [−0.20, 0.81]`."""
    return minus(f"{drop.pp:+.2f} [{drop.low:.2f}, {drop.high:.2f}]")


def minus(text: str) -> str:
    """Return a number's text with a true minus."""
    return text.replace("-", "−")
