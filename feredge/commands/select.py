"""`feredge select`: choose the file that fits a budget; the exit code is for CI."""

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
@click.option(
    "--max-drop",
    type=float,
    default=math.inf,
    metavar="PP",
    help="Largest accuracy drop against the float model, in percentage points.",
)
@click.option("--max-kb", type=float, default=math.inf, metavar="KB", help="Largest file size, in KB.")
@click.option(
    "--max-ms-p90", type=float, default=math.inf, metavar="MS", help="Largest 90th-percentile latency per face, in ms."
)
@click.option(
    "--device",
    type=PATH_TYPE,
    metavar="RESULTS",
    help="Results of the same files on a device, whose latencies are used.",
)
def command(run: Path, max_drop: float, max_kb: float, max_ms_p90: float, device: Path | None) -> None:
    """Choose the file that fits a budget, and give the reason why each other file was rejected.

    RUN is a run folder or a results file. The exit code is 1 if no file fits. Rounds with CPU throttling are excluded;
    a file with no other rounds is not selected.
    """
    from feredge.benchmark.results import ALL_THROTTLED

    result = feredge.select(run, max_drop=max_drop, max_kb=max_kb, max_ms_p90=max_ms_p90, device=device)
    if result.all_throttled:
        echo(f"{ALL_THROTTLED}: no latency is valid, no file is selected; measure again")
    elif result.winner is None:
        echo("no file fits")
    else:
        row = result.winner
        drop = f", drop {row.drop.pp:+.2f} pp [{row.drop.low:.2f}, {row.drop.high:.2f}]" if row.drop else ""
        timing = result.timing
        latency = f", median {timing.median:.3f} ms, p90 {timing.p90:.3f} ms" if timing else ""
        noise = f" (noisy: the rounds differ by {timing.spread:.0%})" if timing and timing.noisy else ""
        echo(f"{row.name}: {row.bytes / 1000:.0f} KB{drop}{latency}{noise}")
    width = max((len(visible(row.name)) for row, _ in result.rejected), default=0)
    for row, reason in result.rejected:
        echo(f"  {visible(row.name):{width}}  {reason}")
    if result.winner is None:
        sys.exit(1)
