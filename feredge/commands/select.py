"""`feredge select`: choose the file that fits a budget; the exit code is for CI."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import feredge
from feredge.commands.shared import JSON_OPTION, PATH_TYPE
from feredge.console import echo, echo_json, echo_table

if TYPE_CHECKING:
    from feredge.api.reporting import SelectResult


@click.command("select")
@click.argument("run", type=PATH_TYPE)
@click.option(
    "--max-drop",
    type=float,
    default=math.inf,
    metavar="PP",
    help="Largest accuracy drop from the float32 network, in percentage points.",
)
@click.option(
    "--max-kb", type=float, default=math.inf, metavar="KB", help="Largest file size, in units of 1,000 bytes."
)
@click.option(
    "--max-ms-p90", type=float, default=math.inf, metavar="MS", help="Largest 90th-percentile latency per face, in ms."
)
@click.option(
    "--max-ram-kb",
    type=float,
    default=math.inf,
    metavar="KB",
    help="Largest arena of the activations, which only C libraries (.c) state, in units of 1,000 bytes.",
)
@click.option(
    "--max-flash-kb",
    type=float,
    default=math.inf,
    metavar="KB",
    help="Largest constant data (weights, tables) of a C library, without its code.",
)
@click.option(
    "--device",
    type=PATH_TYPE,
    metavar="RESULTS",
    help="Results of the same files on a device, whose latencies are used.",
)
@JSON_OPTION
def command(run: Path, as_json: bool, **limits: Any) -> None:
    """Choose the file that fits a budget, and give the reason why each other file was rejected.

    RUN is a run folder or a results file. The exit code is 1 if no file fits. Rounds of the benchmark in which the
    CPU was throttled are excluded; a file with no other rounds is not selected.
    """
    result = feredge.select(run, **limits)
    if as_json:
        echo_json(_to_json(result), indent=2)
    else:
        _print_selection(result)
    if result.winner is None:
        sys.exit(1)


def _to_json(result: SelectResult) -> dict[str, Any]:
    rejected = [{"name": row.name, "reason": reason} for row, reason in result.rejected]
    selected = None if result.winner is None else result.winner.name
    return {"selected": selected, "rejected": rejected, "all_throttled": result.all_throttled}


def _print_selection(result: SelectResult) -> None:
    from feredge.benchmark.results import ALL_THROTTLED

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
    if result.rejected:
        echo_table(("rejected", "reason"), ((row.name, reason) for row, reason in result.rejected))
