"""`feredge select`: the file that fits a budget, for people and for CI."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import click

from feredge.commands.shared import PATH
from feredge.console import echo, visible


@click.command("select")
@click.argument("run", type=PATH)
@click.option("--max-drop", type=float, default=math.inf, metavar="PP", help="Most percentage points it may lose.")
@click.option("--max-kb", type=float, default=math.inf, metavar="KB", help="Most kilobytes on disk.")
@click.option("--max-ms-p90", type=float, default=math.inf, metavar="MS", help="Most ms a face, 90th percentile.")
@click.option("--device", type=PATH, metavar="RESULTS", help="Take latencies from these results of the same files.")
def command(run: Path, max_drop: float, max_kb: float, max_ms_p90: float, device: Path | None) -> None:
    """Choose the file that fits a budget, and say why each other lost.

    RUN is a run folder or a results file. Ends with code 1 where nothing fits. Rounds in which the clock was
    held down take no part; where all were, nothing is chosen.
    """
    from feredge.benchmark import Results
    from feredge.benchmark.results import ALL_THROTTLED
    from feredge.report.budget import Budget, select
    from feredge.run import RunFolder

    budget = Budget(max_drop, max_kb, max_ms_p90)
    results = Results.read(RunFolder.open(run).results if run.is_dir() else run)
    found = select(results, budget, device=Results.read(device) if device else None)
    if found.all_throttled:
        echo(f"{ALL_THROTTLED}: no latency is valid, nothing is chosen; measure again")
    elif found.selected is None:
        echo("nothing fits")
    else:
        row = found.selected
        drop = f", drop {row.drop.pp:+.2f} pp" if row.drop else ""
        echo(f"{row.name}: {row.bytes / 1000:.0f} KB{drop}")
    width = max((len(visible(row.name)) for row, _ in found.rejected), default=0)
    for row, reason in found.rejected:
        echo(f"  {visible(row.name):{width}}  {reason}")
    if found.selected is None:
        sys.exit(1)
