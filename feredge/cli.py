"""The command line: one group, whose commands stand in `feredge.commands`, each imported when it is called.

Each parses, calls one library function, and prints. Libraries are imported inside the commands, so that help and
light commands start at once.
"""

from __future__ import annotations

import errno
import importlib
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

import feredge
from feredge.commands.shared import MARK
from feredge.console import echo, visible
from feredge.errors import FeredgeError, one_line

GOES_ON = ("export", "run", "train")  # after Ctrl-C, always; of others, where they set MARK in their context

COMMANDS = {  # the modules of `feredge.commands`, with one line of help: what they are asked for without an import
    "baselines": "Fit the published classical systems, and compare.",
    "bench": "Measure every file: accuracy, drop, size, latency.",
    "bundle": "Write one file that measures a run on a device.",
    "data": "Look at a data set.",
    "export": "Prune, quantize, write TFLite and ONNX, verify each file.",
    "inspect": "Show what a model file says of itself.",
    "label": "Name the expressions in many pictures, from threads or Ray.",
    "models": "List the reference models that are here.",
    "plots": "Draw every picture of a trained run.",
    "predict": "Name the expressions in pictures, a video, or before a camera.",
    "recipes": "List the recipes that come with feredge.",
    "report": "Show results again, or several side by side.",
    "run": "Train, export and benchmark in one go.",
    "select": "Choose the file that fits a budget, and say why.",
    "sensitivity": "Show what int8 costs in each layer.",
    "serve": "Serve predictions over HTTP.",
    "soft-labels": "Let trained runs label the training images for another.",
    "train": "Train a network.",
    "verify": "Check an exported folder again.",
}


class Terminated(KeyboardInterrupt):
    """SIGTERM: what `docker stop`, systemd and `timeout` send. All that cleans up after Ctrl-C does after this."""


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Let SIGTERM raise Terminated in the main thread meanwhile, once: `timeout` sends it twice.

    Where it is handled or ignored already it stays so, and so in another thread than the main one. A command with a
    handler of its own puts it over this one. Windows ends a process at once, whatever it has set.
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


class Commands(click.Group):
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
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a command, importing its module."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"feredge.commands.{name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            with _sigterm_raises():
                return super().invoke(ctx)
        except click.ClickException as error:
            _show_controls(error)
            raise
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
        except KeyboardInterrupt as error:
            goes_on = ctx.invoked_subcommand in GOES_ON or ctx.meta.get(MARK)
            code = 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)
            _fail("stopped" + "; the same command goes on from here" * bool(goes_on), code)


def _show_controls(error: click.ClickException) -> None:
    """Write out control characters in what click prints itself: shells fill in the names of any files."""
    error.message = visible(error.message)  # type: ignore[misc]  # final for subclasses only


def _fail(message: str, code: int) -> NoReturn:
    echo(f"error: {message}", err=True)
    sys.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(feredge.__version__, prog_name="feredge")
def main() -> None:
    """Take a facial-expression network to a device, and see what was lost on the way."""
