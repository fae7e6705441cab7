"""Generated pages: written, or checked against their sources."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import median
from typing import Any

from environment import ROOT


def write_or_check(pages: dict[Path, str], *, check: bool, command: str) -> int:
    """Write the pages that are not up to date; with `check` only print which, and the `command` that writes them.

    Returns the exit code: 1 where a check failed.
    """
    from feredge.files import write_text

    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    names = ", ".join(str(path.relative_to(ROOT)) for path in (stale if stale and check else pages))
    if check:
        print(f"not up to date: {names}: run {command}" if stale else f"up to date: {names}")
        return int(bool(stale))
    for path in stale:
        write_text(path, pages[path])
    print(f"written: {names}" if stale else f"up to date: {names}")
    return 0


def median_epoch(run: Any) -> float:
    """Return the seconds of a training's median epoch; a mean would include epochs slowed by other work."""
    with run.history.open(encoding="utf-8", newline="") as lines:
        return median(float(row["seconds"]) for row in csv.DictReader(lines))


def describe_teachers(digests: list[str]) -> str:
    """Return a phrase on the teachers of a network, from the digests in its soft labels; empty for none."""
    votes = any(digest.startswith("votes ") for digest in digests)
    count = len(digests) - votes
    return " and ".join([describe_networks(count)] * bool(count) + ["people's votes"] * votes)


def describe_networks(count: int) -> str:
    """Return `1 network`, `2 networks`."""
    return f"{count} network{'s' * (count > 1)}"
