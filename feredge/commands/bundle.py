"""`feredge bundle`: one file that benchmarks a run on a device without ssh."""

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
@click.option("--out", required=True, type=PATH_TYPE, metavar="BENCH.ZIP", help="Path of the file to write.")
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
    """Write one file that benchmarks a run's files on a device without ssh.

    On the device, `python BENCH.ZIP` benchmarks them; it needs only numpy and onnxruntime, and ai-edge-litert for
    TFLite files. It writes results.json, which `feredge report` reads. The file contains the test images.
    """
    effort = effort_name(quick, strict)
    with bars() as progress:
        result = feredge.bundle(
            run, out=out, data=data, effort=effort, threads=threads, batches=batches, progress=progress
        )
    echo(f"bundle: {result.path}, {result.size_bytes / 1e6:.1f} MB; on the device: python {result.path.name}")
