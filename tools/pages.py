"""Pages that programs here write from figures: written anew, or only checked."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import median
from typing import Any

from environment import ROOT


def settle(pages: dict[Path, str], *, check: bool, again: str) -> int:
    """Write the pages that are not up to date; with `check` only say which, and that `again` writes them.

    Returns the exit code: 1 for a check that found one.
    """
    from feredge.files import write_text

    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    names = ", ".join(str(path.relative_to(ROOT)) for path in (stale if stale and check else pages))
    if check:
        print(f"not up to date: {names}: run {again}" if stale else f"up to date: {names}")
        return int(bool(stale))
    for path in stale:
        write_text(path, pages[path])
    print(f"written: {names}" if stale else f"up to date: {names}")
    return 0


def median_epoch(run: Any) -> float:
    """Return the seconds of a training's median epoch: it lasts for hours, and other work disturbs some of them."""
    with run.history.open(encoding="utf-8", newline="") as lines:
        return median(float(row["seconds"]) for row in csv.DictReader(lines))


def teachers(digests: list[str]) -> str:
    """Return in words who taught a network, by what its soft labels say of them; nothing where nobody did."""
    votes = any(digest.startswith("votes ") for digest in digests)
    count = len(digests) - votes
    return " and ".join([networks(count)] * bool(count) + ["people's votes"] * votes)


def networks(count: int) -> str:
    """Return in words how many networks."""
    return f"{count} network{'s' * (count > 1)}"
