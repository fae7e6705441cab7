"""`feredge bench`: measure runs and model files here or on a device, and compare them with earlier results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import feredge
from feredge.commands.measuring import (
    EFFORT_OPTIONS,
    LOAD_OPTIONS,
    TARGET_OPTIONS,
    Cores,
    command_line,
    effort_name,
    foreign_options,
)
from feredge.commands.shared import JSON_OPTION, MOVED_DATA_OPTION, PATH_TYPE, bars, options, print_results
from feredge.console import echo, echo_json

if TYPE_CHECKING:
    from feredge.benchmark.regression import RegressionReport

DEVICE_OPTIONS = options(
    click.option("--device", metavar="ssh://USER@HOST:PORT", help="Measure on this device, over ssh."),
    click.option("--python", default="python3", show_default=True, help="Python command on the device."),
    click.option(
        "--ssh-option",
        "ssh_options",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option of ssh, such as IdentityFile=key; may be repeated.",
    ),
    click.option(
        "--arm",
        "cores",
        type=Cores(),
        default=(),
        help="Arm cores to emulate for instruction counts: cortex-a72,cortex-a76.",
    ),
)
BASELINE_OPTIONS = options(
    click.option("--baseline", type=PATH_TYPE, metavar="RESULTS", help="Earlier results to compare with."),
    click.option(
        "--max-drop",
        type=float,
        default=0.5,
        show_default=True,
        metavar="PP",
        help="Allowed loss of accuracy since --baseline, in percentage points.",
    ),
    click.option(
        "--max-latency-ratio",
        type=float,
        default=1.10,
        show_default=True,
        metavar="RATIO",
        help="Allowed ratio of a file's latency to that in --baseline.",
    ),
)


@click.command("bench")
@click.argument("targets", nargs=-1, required=True, type=PATH_TYPE, metavar="RUN|FILE|NAME...")
@MOVED_DATA_OPTION
@EFFORT_OPTIONS
@LOAD_OPTIONS
@TARGET_OPTIONS
@DEVICE_OPTIONS
@BASELINE_OPTIONS
@JSON_OPTION
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
    as_json: bool,
    **settings: Any,
) -> None:
    """Measure every file: accuracy, accuracy drop, size, latency.

    RUN is a run folder, or a folder of exported files. FILE is an .onnx, .ort, .tflite or .c file; one that feredge did
    not write may need --classes, --input-range and --output; among several files these may be given for one,
    as FILE:VALUE. NAME is one of `feredge models`. Each network is tested on its own test split. Of several arguments,
    those that are not models are skipped, with a note in the results.

    With --sustained, the report shows each file's latency minute by minute, with the clock, temperature, throttling and
    energy that the machine reports, and whether the order of the files changes. With --every, it shows which parts of
    the latency after idling are due to a low clock and to cold caches. An interrupted benchmark continues, under load,
    with the file that it had reached.

    With --device, one run is measured on a device, without the float32 Keras network and the baselines. The device
    needs Python 3.11 or newer, numpy and onnxruntime (ai-edge-litert for TFLite files), and its host key must be known
    to ssh here. If the connection is lost, the measurement continues on the device, and the same command reconnects. No
    files remain there. The results are written to RUN/results-HOST.json.

    With --arm, the instructions of one inference are counted on emulated cores, which says nothing about latency:
    cortex-a72 and cortex-a76, those of Raspberry Pi 4 and 5, need qemu-user and gcc, and mmdebstrap the first time;
    cortex-m3, cortex-m4, cortex-m7 and cortex-m55 run .c files only, compare 32 images with LiteRT bit for bit, and
    need qemu-system-arm and Zig (pip install 'feredge[c]').

    With --baseline, the exit code is 1, and the files are listed, if a file's accuracy fell by more than
    --max-drop, or its latency grew by a factor of more than --max-latency-ratio. On the same machine, both its
    median and its ratio to the float32 network (if that was timed) must have grown; on another machine, only the ratio
    is compared. Instruction counts may grow by --max-latency-ratio, too. A file that fails or is missing is listed,
    too.
    """
    effort, settings = effort_name(quick, strict), foreign_options(settings)
    if settings["rate"] is not None and not settings["sustained_minutes"]:
        raise click.UsageError("--rate is for --sustained")
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
    if as_json:
        echo_json(result.results.to_json())
    else:
        print_results(result.results, result.page)
    if device:
        echo(f"results: {result.results_file}", err=as_json)
    if result.regression is not None:
        _print_regressions(result.regression, err=as_json)


def _print_regressions(report: RegressionReport, *, err: bool) -> None:
    """Print which files got worse, and exit with code 1 if any did."""
    for line in (*report.notes, *report.regressions):
        echo(line, err=err)
    if report.regressions:
        sys.exit(1)
    echo(f"gate: no file got worse, of {report.files}", err=err)
