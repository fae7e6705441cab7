"""The command line: each command parses, calls one library function, prints.

Libraries are imported inside the commands, so that help and light commands start at once.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import io
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

import feredge
from feredge.errors import FeredgeError, one_line

if TYPE_CHECKING:
    from feredge.bench import Results
    from feredge.data.dataset import Dataset
    from feredge.progress import Progress
    from feredge.run import RunFolder

LINE_EVERY = 30.0  # seconds between a task's lines in a log

# Stopped by Ctrl-C, these commands go on where they were; others set a mark in their context where they do.
GOES_ON = ("export", "run", "train")
MARK = "feredge.goes_on"

# Commands with a module of their own, imported when they are called: name -> (module, one line of help).
ELSEWHERE = {
    "bench": ("feredge.commands.bench", "Measure every file: accuracy, drop, size, latency."),
    "baselines": ("feredge.commands.baselines", "Fit the published classical systems, and compare."),
    "bundle": ("feredge.commands.bundle", "Write one file that measures a run on a device."),
    "export": ("feredge.commands.export", "Prune, quantize, write TFLite and ONNX, verify each file."),
    "inspect": ("feredge.commands.inspect", "Show what a model file says of itself."),
    "label": ("feredge.commands.label", "Name the expressions in many pictures, from threads or Ray."),
    "models": ("feredge.commands.models", "List the reference models that are here."),
    "pictures": ("feredge.commands.pictures", "Draw every picture of a trained run."),
    "report": ("feredge.commands.report", "Show results again, or several side by side."),
    "select": ("feredge.commands.select", "Choose the file that fits a budget, and say why."),
    "serve": ("feredge.commands.serve", "Serve predictions over HTTP."),
    "verify": ("feredge.commands.verify", "Check an exported folder again."),
    "layers": ("feredge.commands.layers", "Show what int8 costs in each layer."),
    "teach": ("feredge.commands.teach", "Let trained runs label the training images for another."),
    "predict": ("feredge.commands.predict", "Name the expressions in pictures, a video, or before a camera."),
}


class Commands(click.Group):
    """A command group that turns the errors users cause into one line and the right exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command's name."""
        return sorted([*super().list_commands(ctx), *ELSEWHERE])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a command, importing its module if it has one."""
        if name in ELSEWHERE:
            command: click.Command = importlib.import_module(ELSEWHERE[name][0]).command
            return command
        return super().get_command(ctx, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        own = ((name, self.commands[name].get_short_help_str(80)) for name in self.commands)
        away = ((name, line) for name, (_, line) in ELSEWHERE.items())
        with formatter.section("Commands"):
            formatter.write_dl(sorted([*own, *away]))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="surrogateescape")  # names of files need not be text
        try:
            return super().invoke(ctx)
        except FeredgeError as error:
            _fail(str(error), error.exit_code)
        except ModuleNotFoundError as error:
            _fail(f"this command needs {error.name}: pip install 'feredge[workshop]'", 2)
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read the output wants no more; click ends quietly
                raise
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                _fail(f"the disk is full ({error.filename or error.strerror}); nothing half-written was kept", 2)
            place = error.filename2 or error.filename or "the system"  # of a replacement, the second is the target
            _fail(f"{place}: expected a file or folder that can be used ({error.strerror or one_line(error)})", 2)
        except KeyboardInterrupt:
            goes_on = ctx.invoked_subcommand in GOES_ON or ctx.meta.get(MARK)
            _fail("stopped" + "; the same command goes on from here" * bool(goes_on), 130)


def note_unread() -> None:
    """Say on standard error that the weights in a file were not looked at, where what reads them is not there."""
    if importlib.util.find_spec("onnx") is None:
        click.echo("the weights were not looked at: that needs pip install 'feredge[workshop]'", err=True)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(code)


@contextmanager
def bars() -> Iterator[Progress]:
    """Give a Progress that shows one bar a task on standard error; where that is no terminal, lines for a log."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Display

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    display = Display(*columns, console=Console(stderr=True))
    tasks: dict[str, Any] = {}

    def progress(task: str, done: float, total: float, note: str = "") -> None:
        if task not in tasks:
            display.start()  # not before: a display without bars would leave an empty line above an error
            tasks[task] = display.add_task(task, total=total, note=note)
        display.update(tasks[task], completed=done, total=total, note=note)

    try:
        yield progress
    finally:
        if tasks:
            display.stop()


def _lines() -> Progress:
    """Return a Progress that prints a line when a task begins, every half minute, and when it is done."""
    shown: dict[str, tuple[float, bool]] = {}

    def progress(task: str, done: float, total: float, note: str = "") -> None:
        now, (last, finished) = time.monotonic(), shown.get(task, (-math.inf, False))
        if not finished and (done >= total or now - last >= LINE_EVERY):
            shown[task] = now, done >= total
            steps = f"{round(done, 1):.9g}/{total:.9g}"
            click.echo(f"{time.strftime('%H:%M:%S')}  {task} {steps}  {note}".rstrip(), err=True)

    return progress


def options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Join several click decorators into one."""

    def decorate(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


DATA = click.option("--data", required=True, help="FER2013 csv, class folder, or `drawn` for built-in faces.")
DATA_AGAIN = click.option("--data", help="Where the run's data are now, if they have moved.")
SKIP = click.option("--skip-bad-rows", is_flag=True, help="Count bad csv rows and go on without them.")
TRAINING = options(
    DATA,
    click.option("--out", type=click.Path(path_type=Path), help="The run folder.  [default: runs/RECIPE]"),
    click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting: training.epochs=5"),
    click.option("--keep-duplicates", is_flag=True, help="Train on images that also stand in a test split."),
    click.option(
        "--leave-out",
        type=click.Path(path_type=Path),
        help="A text of row numbers from 0 that neither train nor choose, as they stand in a test set elsewhere.",
    ),
    click.option(
        "--soft-labels", type=click.Path(path_type=Path), help="Learn from a teacher too: see `feredge teach`."
    ),
    SKIP,
)
NO_FACES = click.option("--no-faces", is_flag=True, help="Leave the pictures of people out of the page.")
QUICK = click.option("--quick", is_flag=True, help="Fewer timed runs; the result says so.")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(feredge.__version__, prog_name="feredge")
def main() -> None:
    """Take a facial-expression network to a device, and see what was lost on the way."""


@main.group()
def data() -> None:
    """Look at a data set."""


@data.command("info")
@click.argument("path")
@click.option("--picture", type=click.Path(path_type=Path), help="Write one face of each class to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@SKIP
def data_info(path: str, picture: Path | None, as_json: bool, skip_bad_rows: bool) -> None:
    """Count images by split and class."""
    from feredge import data as room

    dataset = room.load(path, skip_bad_rows=skip_bad_rows)
    info = room.info(dataset)
    click.echo(json.dumps(info.to_json(), indent=2) if as_json else info.to_text())
    if picture:
        room.write_one_of_each(dataset, picture)
        click.echo(f"one face of each class: {picture}", err=as_json)


@data.command("check")
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@SKIP
def data_check(path: str, as_json: bool, skip_bad_rows: bool) -> None:
    """Find duplicates, conflicting labels and constant images."""
    from feredge import data as room

    findings = room.check(room.load(path, skip_bad_rows=skip_bad_rows))
    click.echo(json.dumps(findings.to_json(), indent=2) if as_json else findings.to_text())


@main.command("recipes")
def list_recipes() -> None:
    """List the recipes that come with feredge."""
    from feredge import recipe

    for name in recipe.names():
        click.echo(name)


@main.command("train")
@click.argument("recipe")
@TRAINING
def train_command(recipe: str, **settings: Any) -> None:
    """Train a network.

    RECIPE is a name or a .toml file. Started again after a stop, it goes on.
    """
    run, _ = _train(recipe, **settings)
    _say_trained(run)


@main.command("run")
@click.argument("recipe", default="nano")
@TRAINING
@QUICK
@NO_FACES
@click.pass_context
def run_command(context: click.Context, /, recipe: str, quick: bool, no_faces: bool, **settings: Any) -> None:
    """Train, export and benchmark in one go.

    RECIPE is a name or a .toml file, nano if left out. Steps that are done already are skipped.
    """
    folder, dataset = _train(recipe, **settings)
    _say_trained(folder)
    _export(folder, dataset)
    from feredge.bench import standing

    results = standing(folder, dataset, quick=quick)
    if results is None or not folder.report.is_file():
        from feredge.commands.bench import command

        context.invoke(command, targets=(folder.path,), data=settings["data"], quick=quick, no_faces=no_faces)
    else:
        show(results, folder.report)


def _train(
    recipe: str,
    data: str,
    out: Path | None,
    changes: tuple[str, ...],
    keep_duplicates: bool,
    leave_out: Path | None,
    soft_labels: Path | None,
    skip_bad_rows: bool,
) -> tuple[RunFolder, Dataset]:
    from feredge import recipe as recipes
    from feredge.data import hold_back, load, read_rows

    changes += ("data.drop_duplicates=false",) * keep_duplicates
    resolved = recipes.load(recipe, changes=changes)  # before the slow imports: a typo is told at once
    dataset = load(data, size=resolved.data.size, skip_bad_rows=skip_bad_rows)
    if dataset.skipped:
        click.echo(f"{dataset.skipped} bad rows skipped", err=True)
    if leave_out is not None:
        dataset = hold_back(dataset, read_rows(leave_out))
    from feredge.train import train

    with bars() as progress:
        folder = out or Path("runs") / resolved.name
        return train(resolved, dataset, folder, soft_labels=soft_labels, progress=progress), dataset


def _say_trained(run: RunFolder) -> None:
    figures = json.loads(run.training.read_text(encoding="utf-8"))
    click.echo(f"trained: {figures['test']['accuracy']:.2%} of {figures['test']['images']} test images, {run.path}")


def _export(run: RunFolder, dataset: Dataset) -> None:
    from feredge.commands.export import say_exported
    from feredge.export import export

    with bars() as progress:
        manifest = export(run, dataset, progress=progress)
    say_exported(run, manifest)


def show(results: Results, page: Path) -> None:
    """Print the table, and where the page is."""
    from feredge import report

    click.echo(report.to_terminal(results))  # leaves the colours out where nobody sees them
    click.echo(f"report: {page.absolute()}")
