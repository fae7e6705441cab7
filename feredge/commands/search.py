"""`feredge search`: search for the most accurate network within limits."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click

import feredge
from feredge.commands.bench import DEVICE_OPTIONS
from feredge.commands.shared import DATA_OPTION, JSON_OPTION, LEAVE_OUT_OPTION, PATH_TYPE, SKIP_BAD_ROWS_OPTION, bars
from feredge.console import echo, echo_json

if TYPE_CHECKING:
    from feredge.api.searching import SearchResult
    from feredge.search.estimate import SearchEstimate
    from feredge.search.final_evaluation import Finalist

ESTIMATE_SETTINGS = (
    *("data", "trials", "max_kb", "max_ram_kb", "max_macs", "overrides", "leave_out", "skip_bad_rows"),
)
"""Options that an estimate depends on."""


@click.command("search")
@click.argument("space")
@DATA_OPTION
@click.option("--out", type=PATH_TYPE, help="The study folder.  [default: studies/SPACE]")
@click.option("--estimate", is_flag=True, help="Only print what the study would cost, from a few candidates.")
@click.option("--trials", type=int, help="Number of candidates to train; those over a limit do not count.")
@click.option("--hours", type=float, help="End after so many hours; the same command goes on with the study.")
@click.option("--max-kb", type=float, help="Largest int8 file, in units of 1,000 bytes.")
@click.option("--max-ms", type=float, help="Longest median latency of one image on one thread.")
@click.option("--max-ram-kb", type=float, help="Largest memory of the activations, in units of 1,000 bytes.")
@click.option("--max-macs", type=float, help="Most multiply-adds of one image.")
@click.option("--max-instructions", type=float, help="Most instructions of one image on the core of --arm.")
@DEVICE_OPTIONS
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value of the space, such as training.epochs=9; may be repeated.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the sampler.")
@LEAVE_OUT_OPTION
@click.option(
    "--start-from",
    type=PATH_TYPE,
    help="Start with the weights of a trained RUN, a folder of exported files, or a name of `feredge models`, as far "
    "as a candidate's layers fit.",
)
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    type=PATH_TYPE,
    metavar="PATH",
    help="Online distillation from a trained network; may be repeated.",
)
@click.option(
    "--storage",
    metavar="URL",
    help="Database of a study on several machines, postgresql+psycopg://USER@HOST/NAME.  [default: Optuna journal]",
)
@click.option(
    "--finalists",
    type=int,
    help="Candidates to train again with 3 seeds each, and to evaluate on the test images.  [default: 3 once the study "
    "has its --trials, none with --hours alone]",
)
@click.option("--keep-all", is_flag=True, help="Keep the weights of all trials, not only of the Pareto front.")
@click.option("--workers", type=int, default=1, show_default=True, help="Number of processes.")
@SKIP_BAD_ROWS_OPTION
@JSON_OPTION
def command(
    space: str,
    out: Path | None,
    estimate: bool,
    device: str | None,
    python: str,
    ssh_options: tuple[str, ...],
    cores: tuple[str, ...],
    as_json: bool,
    **settings: Any,
) -> None:
    """Search for the most accurate network within limits.

    SPACE is residual (architectures of residual networks), training (training hyperparameters of nano), tuned-2024 (the
    space of a published study), or a .toml file: a recipe whose values may be ranges or choices. Each candidate is
    exported untrained to int8 and measured first; what exceeds a limit is not trained. With --arm cortex-m4 and other
    microcontrollers the limits are those of the C library: instructions, RAM, weights and tables in flash. The same
    command goes on with a study that was stopped or killed.
    """
    if len(cores) > 1:
        raise click.UsageError("--arm: a search takes one core")
    if device is not None:
        settings["device"] = feredge.Device(device, python, ssh_options)
    with bars("reading the data and opening TensorFlow") as progress:
        if estimate:
            used = {name: value for name, value in settings.items() if name in ESTIMATE_SETTINGS and value is not None}
            estimated = feredge.estimate_search(space, core="".join(cores), progress=progress, **used)
            echo_json(asdict(estimated), indent=2) if as_json else print_estimate(estimated)
            return
        out = out or Path("studies") / Path(space).stem
        result = feredge.search(space, out=out, core="".join(cores), progress=progress, **settings)
    echo_json(asdict(result.results), indent=2) if as_json else print_study(result)


def print_estimate(estimate: SearchEstimate) -> None:
    """Print what a study would cost."""
    echo(f"{estimate.fitting:.0%} of the drawn candidates fit; measuring one takes {estimate.measuring_seconds:.1f} s")
    if not estimate.fitting:
        echo("no drawn candidate fits the limits: nothing to train")
        return
    echo(f"an epoch takes {estimate.epoch_seconds:.1f} s, and a trial {estimate.epochs:.1f} epochs on average")
    echo(f"{estimate.trials} trials take about {estimate.hours:.1f} hours with one worker, the finalists aside")


def print_study(result: SearchResult) -> None:
    """Print the front, the rank correlations, and where the study is."""
    results = result.results
    states = [trial.state for trial in results.trials]
    echo(
        f"{states.count('complete')} trained to the end, {states.count('pruned')} ended early, "
        f"{states.count('misfit')} did not fit, {results.kills} kills survived"
    )
    for trial in results.front:
        file = trial.file(results.limits)
        costs = "" if file is None else f", {file.file}: {file.size_bytes / 1e3:,.1f} KB"
        costs += "" if file is None or file.latency_ms is None else f", {file.latency_ms:.3g} ms"
        echo(f"trial {trial.number}: {trial.accuracy:.2%} of the validation images{costs}, trials/{trial.name}")
    for epoch, (correlation, count) in results.rank_correlations().items():
        echo(f"rank correlation of epoch {epoch} with the end: {correlation:.2f} over {count} trials")
    if result.final_evaluation is not None:
        for finalist in result.final_evaluation.finalists:
            echo(describe_finalist(finalist, chosen=finalist.name == result.final_evaluation.chosen))
    echo(f"report: {result.page.absolute()}")


def describe_finalist(finalist: Finalist, *, chosen: bool) -> str:
    """Return a finalist's accuracies as one line."""
    seeds = len(finalist.seeds)
    text = f"finalist trial {finalist.trial}: {fmean(finalist.validation):.2%} of the validation images"
    if finalist.test:
        text += f", {fmean(finalist.test):.2%} of the test images"
    text += f" over {seeds} seeds"
    if chosen:
        return f"{text}; chosen on the validation images"
    low, high = finalist.behind_low_pp, finalist.behind_high_pp
    return text + (f"; {finalist.behind_pp:+.2f} [{low:.2f}, {high:.2f}] pp behind" if finalist.test else "")
