"""`feredge bench`: runs and model files, measured here or on a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from feredge.cli import DATA_AGAIN, bars, options, show
from feredge.commands.measuring import HOW_HARD, WHAT, measure_here

if TYPE_CHECKING:
    from feredge.bench import Results
    from feredge.data.dataset import Dataset
    from feredge.run import RunFolder

DEVICE = options(
    click.option("--device", metavar="ssh://USER@HOST:PORT", help="Measure on this device, over ssh."),
    click.option("--python", default="python3", show_default=True, help="The device's Python."),
    click.option("--ssh-option", multiple=True, metavar="KEY=VALUE", help="For ssh and scp: IdentityFile=key"),
)


@click.command("bench")
@click.argument("targets", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN|FILE...")
@DATA_AGAIN
@HOW_HARD
@WHAT
@DEVICE
def command(
    targets: tuple[Path, ...],
    data: str | None,
    device: str | None,
    python: str,
    ssh_option: tuple[str, ...],
    quick: bool,
    **here: Any,
) -> None:
    """Measure every file: accuracy, drop, size, latency.

    RUN is a run folder, or a folder of exported files. FILE is any .onnx or .tflite; one that feredge did not write
    may need --classes and --pixels. Each network is judged on its own test split; what is none is left out.

    With --device, a device measures one run, the float model and the baselines apart: it needs Python 3.11, numpy and
    onnxruntime, for TFLite files ai-edge-litert, and a host key that is known here. A lost connection costs nothing;
    nothing stays there. The results are RUN/results-HOST.json.
    """
    if not device:
        measure_here(targets, data, quick=quick, **here)
        return
    from feredge.run import RunFolder

    if len(targets) > 1:
        raise click.UsageError("--device takes one run")
    folder = RunFolder.open(targets[0], trained=True, exported=True)
    _measure_there(folder, data, quick, device, python, ssh_option)


def _measure_there(
    run: RunFolder, data: str | None, quick: bool, text: str, python: str, ssh_option: tuple[str, ...]
) -> Results:
    from feredge import report
    from feredge.devices.remote import bench_on, results_file
    from feredge.devices.ssh import Address, Device

    device = Device(Address.parse(text), python, ssh_option)
    dataset: Dataset = run.load_data(data)
    with bars() as progress:
        results = bench_on(device, run, dataset, quick=quick, progress=progress)
    page = run.path / f"report-{device.address.name}.html"
    report.write_html(results, page)
    show(results, page)
    click.echo(f"results: {results_file(run, device)}")
    return results
