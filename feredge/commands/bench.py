"""`feredge bench`: runs and model files, measured here or on a device, and compared with earlier results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import feredge
from feredge.commands.measuring import EFFORT_OPTIONS, TARGET_OPTIONS, Cores, command_line, effort_name
from feredge.commands.shared import MOVED_DATA_OPTION, PATH_TYPE, bars, options, print_results
from feredge.console import echo

if TYPE_CHECKING:
    from feredge.benchmark.regression import RegressionReport

DEVICE_OPTIONS = options(
    click.option("--device", metavar="ssh://USER@HOST:PORT", help="Measure on this device, over ssh."),
    click.option("--python", default="python3", show_default=True, help="The device's Python."),
    click.option("--ssh-option", "ssh_options", multiple=True, metavar="KEY=VALUE", help="For ssh: IdentityFile=key"),
    click.option("--arm", "cores", type=Cores(), default=(), help="Count instructions on cortex-a72, cortex-a76."),
)
BASELINE_OPTIONS = options(
    click.option("--baseline", type=PATH_TYPE, metavar="RESULTS", help="Earlier results to compare with."),
    click.option("--max-drop", type=float, default=0.5, show_default=True, help="Allowed accuracy drop, in pp."),
    click.option(
        "--max-latency-ratio", type=float, default=1.10, show_default=True, help="Allowed ratio of latencies."
    ),
)


@click.command("bench")
@click.argument("targets", nargs=-1, required=True, type=PATH_TYPE, metavar="RUN|FILE|NAME...")
@MOVED_DATA_OPTION
@EFFORT_OPTIONS
@TARGET_OPTIONS
@DEVICE_OPTIONS
@BASELINE_OPTIONS
def command(
    targets: tuple[Path, ...],
    quick: bool,
    strict: bool,
    no_baselines: bool,
    no_faces: bool,
    device: str | None,
    python: str,
    ssh_options: tuple[str, ...],
    baseline: Path | None,
    max_drop: float,
    max_latency_ratio: float,
    **settings: Any,
) -> None:
    """Measure every file: accuracy, drop, size, latency.

    RUN is a run folder, or a folder of exported files. FILE is any .onnx or .tflite; one that feredge did not write
    may need --classes and --input-range. NAME is one of `feredge models`. Each network is tested on its own test
    split; other files among several are left out.

    With --device, a device measures one run, the float model and the baselines apart: it needs Python 3.11, numpy and
    onnxruntime, for TFLite files ai-edge-litert, and a host key that is known here. A lost connection costs nothing;
    nothing stays there. The results are RUN/results-HOST.json.

    With --arm, the instructions of one inference are counted on emulated cores (Raspberry Pi 4 and 5), which gives no
    time. It needs qemu-user, gcc and, once, mmdebstrap.

    With --baseline, it ends with 1 and names the file when a file lost more than --max-drop or takes more than
    --max-latency-ratio times as long: by the median itself where the machine is the same, by the ratio to the float
    model where it is not.
    """
    effort = effort_name(quick, strict)
    if device and (len(targets) > 1 or settings["runtimes"] or settings["classes"] or settings["out"]):
        raise click.UsageError("--device takes one run, and no --runtimes, --classes or --out")
    with bars(f"connecting to {device}" if device else "preparing") as progress:
        result = feredge.benchmark(
            targets,
            effort=effort,
            baselines=not no_baselines,
            faces=not no_faces,
            device=feredge.Device(device, python, ssh_options) if device else None,
            baseline=feredge.Baseline(baseline, max_drop, max_latency_ratio) if baseline else None,
            command=command_line(),
            progress=progress,
            **settings,
        )
    print_results(result.results, result.page)
    if device:
        echo(f"results: {result.results_file}")
    if result.regression is not None:
        _print_regressions(result.regression)


def _print_regressions(report: RegressionReport) -> None:
    """Print which files got worse, and end with 1 if any did."""
    for line in (*report.notes, *report.regressions):
        echo(line)
    if report.regressions:
        sys.exit(1)
    echo(f"gate: no file got worse, of {report.files}")
