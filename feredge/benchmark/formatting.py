"""Formatting of figures and verdicts for pages, tables and messages."""

from __future__ import annotations

from feredge.benchmark.metrics import Accuracy, Drop, Timing, Verdict

VERDICT_LABELS: dict[Verdict, tuple[str, str]] = {
    "drop": ("lost", "drop"),
    "no evidence of a drop": ("unsure", "no evidence of a drop"),
    "equivalent within the margin": ("kept", "equivalent"),
    "gain": ("won", "gain"),
}
"""Each verdict's CSS class on pages, and its text in tables, which give the margin below."""


def percent(accuracy: Accuracy | None) -> str:
    """Return an accuracy as `63.83`; empty for None."""
    return f"{100 * accuracy.accuracy:.2f}" if accuracy else ""


def format_median(timing: Timing | None) -> str:
    """Return the median in ms, as `~0.353` where the timing is noisy; empty for None."""
    return f"{'~' if timing.noisy else ''}{timing.median:.3f}" if timing else ""


def signed(value: float, digits: int = 2) -> str:
    """Return a number with its sign, and U+2212 for a minus."""
    return with_minus_signs(f"{value:+.{digits}f}")


def format_drop(drop: Drop) -> str:
    """Return a drop in pp and its interval, as `+0.31 [−0.20, 0.81]`."""
    return with_minus_signs(f"{drop.pp:+.2f} [{drop.low:.2f}, {drop.high:.2f}]")


def with_minus_signs(text: str) -> str:
    """Return the text of numbers with U+2212 in place of hyphens."""
    return text.replace("-", "−")
