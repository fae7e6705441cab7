"""The command line: one group, whose commands are modules of `feredge.commands`, each imported when it is called.

Each parses, calls one public function of `feredge`, and prints. The functions import their libraries when they are
called, so that help and light commands start at once.
"""

from __future__ import annotations

import errno
import importlib
import platform
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

import feredge
from feredge.commands.shared import RESUMABLE_KEY, SuggestingGroup, log_lines
from feredge.console import echo, escape_control
from feredge.errors import FeredgeError, one_line

RESUMABLE_COMMANDS = ("export", "run", "search", "train")  # others set RESUMABLE_KEY in their context

COMMAND_SUMMARIES = {  # by the modules of `feredge.commands`, which help does not import
    "baselines": "Fit published scikit-learn classifiers, and compare.",
    "bench": "Measure every file: accuracy, accuracy drop, size, latency.",
    "bundle": "Write what a microcontroller or device without ssh needs.",
    "calibrate": "Choose the confidence below which a prediction is unsure.",
    "data": "Count and check the images of a data set.",
    "doctor": "Check the installation and the machine.",
    "export": "Prune, quantize, write TFLite and ONNX, verify each file.",
    "inspect": "Show what is in a model file.",
    "label": "Classify the faces in many pictures into a table, also on Ray.",
    "models": "List the available reference models.",
    "plots": "Draw the plots of a trained run.",
    "predict": "Classify the faces in pictures.",
    "recipes": "List the recipes that come with feredge.",
    "report": "Show results again, or several side by side.",
    "run": "Train, export and benchmark with one command.",
    "search": "Search for the most accurate network within limits.",
    "select": "Choose the file that fits a budget, with reasons.",
    "sensitivity": "Show the int8 quantization error of each layer.",
    "serve": "Serve predictions over HTTP.",
    "soft-labels": "Average trained runs into soft labels for distillation.",
    "submit": "Classify the faces of a csv into id,emotion.",
    "track": "Track and classify the faces in a video, stream or camera.",
    "train": "Train a network.",
    "verify": "Check a folder of exported files again.",
}

RENAMED_OPTIONS = {
    "bench": {
        "--also": "--runtimes",
        "--against": "--baseline",
        "--max-slower": "--max-latency-ratio",
        "--pixels": "--input-range",
    },
    "export": {
        "--all": "--files all",
        "--only": "--files",
        "--input": "--input-size and --input-range",
        "--calibration": "--calibration-images",
        "--calibrate-on": "--calibration-data",
        "--method": "--calibration-method",
        "--full-range": "--no-reduce-range",
    },
    "label": {"--face": "--cropped"},
    "predict": {
        "--face": "--cropped",
        "--data": "`feredge submit CSV --out OUT`",
        "--submission": "`feredge submit CSV --out OUT`",
        **dict.fromkeys(
            ("--video", "--camera", "--out", "--show", "--smooth", "--skip", "--reconnect", "--hold-rate"),
            "`feredge track SOURCE`",
        ),
    },
    "serve": {"--face": "--cropped"},
    "track": {"--face": "--cropped", "--hold-rate": "--realtime"},
}
"""By command: removed options, and the replacement that the error message names."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which `docker stop`, systemd and `timeout` send. What cleans up after Ctrl-C does so after this, too."""


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Let SIGTERM raise Terminated in the main thread during the block, once: `timeout` sends it twice.

    Nothing changes where the signal is handled or ignored already, nor outside the main thread. A command may replace
    this handler by its own. Windows ends a process at once, whatever handlers it has.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(number: int, frame: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Commands(SuggestingGroup):
    """A command group that turns the errors users cause into one line and the right exit code."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the options before a command's name."""
        try:
            return super().make_context(*arguments, **options)
        except click.ClickException as error:
            _show_controls(error)
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command's name."""
        return list(COMMAND_SUMMARIES)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a command, importing its module."""
        if name not in COMMAND_SUMMARIES:
            return None
        command: click.Command = importlib.import_module(f"feredge.commands.{name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMAND_SUMMARIES.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            with _sigterm_raises(), log_lines():
                return super().invoke(ctx)
        except click.ClickException as error:
            if isinstance(error, click.NoSuchOption):
                _name_new_option(error)
            _show_controls(error)
            raise
        except FeredgeError as error:
            _fail(str(error), error.exit_code)
        except ModuleNotFoundError as error:
            extra = "workshop,search" if error.name == "optuna" else "workshop"
            _fail(f"this command needs {error.name}: pip install 'feredge[{extra}]'", 2)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader closed the pipe; click exits without a message
                raise
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                _fail(f"the disk is full ({error.filename or error.strerror}); no partial file was kept", 2)
            path = error.filename2 or error.filename or "the system"  # of a replacement, the second is the target
            _fail(f"{path}: cannot be used ({error.strerror or one_line(error)})", 2)
        except KeyboardInterrupt as error:
            resumable = ctx.invoked_subcommand in RESUMABLE_COMMANDS or ctx.meta.get(RESUMABLE_KEY)
            code = 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)
            _fail("stopped" + "; the same command resumes from here" * bool(resumable), code)


def _name_new_option(error: click.NoSuchOption) -> None:
    """Let the error of a removed option name its replacement."""
    command = error.ctx.command.name if error.ctx is not None else None
    replacement = RENAMED_OPTIONS.get(command or "", {}).get(error.option_name)
    if replacement is not None:
        error.message = f"{error.option_name}: expected {replacement}"  # type: ignore[misc]
        error.possibilities = None  # type: ignore[misc]


def _show_controls(error: click.ClickException) -> None:
    """Escape control characters in click's own messages: arguments may be file names completed by a shell."""
    error.message = escape_control(error.message)  # type: ignore[misc]  # final for subclasses only


def _fail(message: str, code: int) -> NoReturn:
    echo(f"error: {message}", err=True)
    sys.exit(code)


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from feredge.inference.system_info import package_versions

    echo(f"feredge, version {feredge.__version__}")
    versions = {"python": platform.python_version(), **package_versions()}
    versions.pop("feredge", None)  # the line above
    for name, version in versions.items():
        echo(f"{name} {version}")
    ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the versions of feredge, Python and the runtimes, and exit.",
)
def main() -> None:
    """Train a small image classifier, export it for devices, and measure the accuracy lost at each step.

    A recipe is a TOML file of settings; a run is the folder that training, export and benchmark of one recipe write
    into; a card is the metadata inside each exported file. An exported file is named after the compression, the
    precision and the format: pruned-80.int8.tflite.
    """
