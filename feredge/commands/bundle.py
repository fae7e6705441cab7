"""`feredge bundle`: one file that measures a run on a device that ssh does not reach."""

from __future__ import annotations

from pathlib import Path

import click

from feredge.commands.measuring import HOW_HARD, named
from feredge.commands.shared import DATA_AGAIN, PATH, bars
from feredge.console import echo


@click.command("bundle")
@click.argument("run", type=PATH)
@DATA_AGAIN
@click.option("--out", required=True, type=PATH, metavar="BENCH.ZIP", help="The file to write.")
@HOW_HARD
def command(
    run: Path,
    data: str | None,
    out: Path,
    quick: bool,
    strict: bool,
    threads: tuple[int, ...] | None,
    batches: tuple[int, ...] | None,
) -> None:
    """Write one file that measures a run's files on a device.

    There, `python BENCH.ZIP` measures them with numpy and onnxruntime alone, TFLite files where ai-edge-litert is
    installed, and writes results.json, which `feredge report` reads. The test images are in the file.
    """
    from feredge.devices.bundle import BenchmarkPreset, bundle
    from feredge.run import RunFolder

    preset = BenchmarkPreset(named(quick, strict), threads or (), batches or ())
    folder = RunFolder.open(run, trained=True, exported=True)
    dataset = folder.load_data(data)
    with bars() as progress:
        bundle(folder, dataset, out, preset=preset, progress=progress)
    echo(f"bundle: {out}, {out.stat().st_size / 1e6:.1f} MB; on the device: python {out.name}")
