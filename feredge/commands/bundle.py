"""`feredge bundle`: one file that measures a run on a device that ssh does not reach."""

from __future__ import annotations

from pathlib import Path

import click

import feredge
from feredge.commands.measuring import EFFORT_OPTIONS, effort_name
from feredge.commands.shared import MOVED_DATA_OPTION, PATH_TYPE, bars
from feredge.console import echo


@click.command("bundle")
@click.argument("run", type=PATH_TYPE)
@MOVED_DATA_OPTION
@click.option("--out", required=True, type=PATH_TYPE, metavar="BENCH.ZIP", help="The file to write.")
@EFFORT_OPTIONS
def command(
    run: Path,
    data: str | None,
    out: Path,
    quick: bool,
    strict: bool,
    threads: tuple[int, ...],
    batches: tuple[int, ...],
) -> None:
    """Write one file that measures a run's files on a device.

    There, `python BENCH.ZIP` measures them with numpy and onnxruntime alone, TFLite files where ai-edge-litert is
    installed, and writes results.json, which `feredge report` reads. The test images are in the file.
    """
    effort = effort_name(quick, strict)
    with bars() as progress:
        result = feredge.bundle(
            run, out=out, data=data, effort=effort, threads=threads, batches=batches, progress=progress
        )
    echo(f"bundle: {result.path}, {result.size_bytes / 1e6:.1f} MB; on the device: python {result.path.name}")
