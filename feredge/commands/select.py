"""`feredge select`: the file that fits a budget, for people and for CI."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import click

import feredge
from feredge.commands.shared import PATH_TYPE
from feredge.console import echo, visible


@click.command("select")
@click.argument("run", type=PATH_TYPE)
@click.option("--max-drop", type=float, default=math.inf, metavar="PP", help="Most percentage points it may lose.")
@click.option("--max-kb", type=float, default=math.inf, metavar="KB", help="Most kilobytes on disk.")
@click.option("--max-ms-p90", type=float, default=math.inf, metavar="MS", help="Most ms a face, 90th percentile.")
@click.option("--device", type=PATH_TYPE, metavar="RESULTS", help="Latencies from these results of the same files.")
def command(run: Path, max_drop: float, max_kb: float, max_ms_p90: float, device: Path | None) -> None:
    """Choose the file that fits a budget, and give the reason against each other.

    RUN is a run folder or a results file. Ends with code 1 where nothing fits. Rounds in which the CPU clock was
    throttled are not counted; where all were, nothing is chosen.
    """
    from feredge.benchmark.results import ALL_THROTTLED

    result = feredge.select(run, max_drop=max_drop, max_kb=max_kb, max_ms_p90=max_ms_p90, device=device)
    if result.all_throttled:
        echo(f"{ALL_THROTTLED}: no latency is valid, nothing is chosen; measure again")
    elif result.winner is None:
        echo("nothing fits")
    else:
        row = result.winner
        drop = f", drop {row.drop.pp:+.2f} pp" if row.drop else ""
        echo(f"{row.name}: {row.bytes / 1000:.0f} KB{drop}")
    width = max((len(visible(row.name)) for row, _ in result.rejected), default=0)
    for row, reason in result.rejected:
        echo(f"  {visible(row.name):{width}}  {reason}")
    if result.winner is None:
        sys.exit(1)
