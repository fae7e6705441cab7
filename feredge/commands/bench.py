"""`feredge bench`: runs and model files, measured here or on a device, and held against earlier results."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from feredge.commands.measuring import HOW_HARD, WHAT, Cores, measure_here, named
from feredge.commands.shared import DATA_AGAIN, PATH, bars, options, show
from feredge.console import echo

if TYPE_CHECKING:
    from feredge.benchmark import Results
    from feredge.devices.bundle import BenchmarkPreset
    from feredge.run import RunFolder

DEVICE = options(
    click.option("--device", metavar="ssh://USER@HOST:PORT", help="Measure on this device, over ssh."),
    click.option("--python", default="python3", show_default=True, help="The device's Python."),
    click.option("--ssh-option", multiple=True, metavar="KEY=VALUE", help="For ssh and scp: IdentityFile=key"),
    click.option("--arm", type=Cores(), help="Count instructions on cortex-a72 (Pi 4), cortex-a76 (Pi 5)."),
)
GATE = options(
    click.option("--against", type=PATH, help="Results to hold the new ones against."),
    click.option("--max-drop", type=float, default=0.5, show_default=True, help="Loss of accuracy let pass, in pp."),
    click.option("--max-slower", type=float, default=1.10, show_default=True, help="Ratio of latency let pass."),
)


@click.command("bench")
@click.argument("targets", nargs=-1, required=True, type=PATH, metavar="RUN|FILE...")
@DATA_AGAIN
@HOW_HARD
@WHAT
@DEVICE
@GATE
def command(
    targets: tuple[Path, ...],
    data: str | None,
    device: str | None,
    python: str,
    ssh_option: tuple[str, ...],
    arm: tuple[str, ...] | None,
    against: Path | None,
    max_drop: float,
    max_slower: float,
    **here: Any,
) -> None:
    """Measure every file: accuracy, drop, size, latency.

    RUN is a run folder, or a folder of exported files. FILE is any .onnx or .tflite; one that feredge did not write
    may need --classes and --pixels. Each network is judged on its own test split; what is none is left out.

    With --device, a device measures one run, the float model and the baselines apart: it needs Python 3.11, numpy and
    onnxruntime, for TFLite files ai-edge-litert, and a host key that is known here. A lost connection costs nothing;
    nothing stays there. The results are RUN/results-HOST.json.

    With --arm, the instructions of one inference are counted on emulated cores: no time follows from them. It needs
    qemu-user, gcc and, once, mmdebstrap.

    With --against, it ends with 1 when a file lost more than --max-drop or takes --max-slower times as long, and
    names it: by the median itself where the machine is the same, by the ratio to the float model where it is not.
    """
    from feredge.benchmark import Results
    from feredge.benchmark.gate import check_data
    from feredge.devices.bundle import BenchmarkPreset
    from feredge.run import RunFolder

    before = Results.read(against) if against else None

    def check_baseline(digest: str) -> None:
        """Refuse results on other data than those that were read, before hours of measuring."""
        if before:
            check_data(before.data.digest, digest, str(against))

    if not device:
        results = measure_here(targets, data, arm=arm or (), check_data=check_baseline, **here)
    else:
        if len(targets) > 1 or here["also"] or here["classes"] or here["out"]:
            raise click.UsageError("--device takes one run, and no --also, --classes or --out")
        preset = BenchmarkPreset(named(here["quick"], here["strict"]), here["threads"] or (), here["batches"] or ())
        folder = RunFolder.open(targets[0], trained=True, exported=True)
        results = _measure_there(folder, data, preset, device, python, ssh_option, arm or (), check_baseline)
    if before:
        _hold(results, before, max_drop, max_slower)


def _measure_there(
    run: RunFolder,
    data: str | None,
    preset: BenchmarkPreset,
    text: str,
    python: str,
    ssh_option: tuple[str, ...],
    arm: tuple[str, ...],
    check_data: Callable[[str], None],
) -> Results:
    from feredge import report
    from feredge.benchmark.candidates import artifact_candidates
    from feredge.data import split
    from feredge.devices.instruction_count import add_counts
    from feredge.devices.remote import bench_on, check_device, results_file
    from feredge.devices.ssh import Address, Device

    device = Device(Address.parse(text), python, ssh_option)
    with bars(f"asking {device.address}") as progress:
        check_device(device)  # before anything is prepared for it
        dataset = run.load_data(data)
        check_data(dataset.digest)
        results = bench_on(device, run, dataset, preset=preset, progress=progress)
        if arm:
            images = split(dataset, run.recipe().data).test.batch
            results = add_counts(results, artifact_candidates(run.artifacts), images, arm, progress=progress)
            results.write(results_file(run, device))
    page = run.path / f"report-{device.address.name}.html"
    report.write_html(results, page)
    show(results, page)
    echo(f"results: {results_file(run, device)}")
    return results


def _hold(results: Results, before: Results, max_drop: float, max_slower: float) -> None:
    """Say what got worse, and end with 1 if anything did."""
    from feredge.benchmark.regression import find_regressions

    report = find_regressions(results, before, max_drop_pp=max_drop, max_slowdown=max_slower)
    for line in (*report.notes, *report.regressions):
        echo(line)
    if report.regressions:
        sys.exit(1)
    echo(f"gate: no file got worse, of {report.files}")
