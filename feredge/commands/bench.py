"""`feredge bench`: a run's files, measured here or on a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from feredge.cli import DATA_AGAIN, QUICK, RUN, bars, measure, options, show

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
@RUN
@DATA_AGAIN
@QUICK
@click.option("--no-baselines", is_flag=True, help="Leave the classical baselines out.")
@DEVICE
def command(run: Path, data: str | None, quick: bool, no_baselines: bool, device: str | None, **there: Any) -> None:
    """Measure every file: accuracy, drop, size, latency.

    With --device, a device measures them, the float model and the baselines apart: it needs Python 3.11, numpy and
    onnxruntime, for TFLite files ai-edge-litert, and a host key that is known here. A lost connection costs nothing;
    nothing stays there. The results are RUN/results-HOST.json.
    """
    from feredge.run import RunFolder

    folder = RunFolder.open(run, trained=True, exported=True)
    if device:
        _measure_there(folder, data, quick, device, **there)
    else:
        measure(folder, folder.load_data(data), quick=quick, baselines=not no_baselines)


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
