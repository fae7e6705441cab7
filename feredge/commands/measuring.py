"""Options of `feredge bench` and `feredge bundle`, and the command line that a report shows."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from feredge.benchmark.load_metrics import MAX_RATE, MIN_RATE
from feredge.commands.shared import (
    CLASSES_OPTION,
    INPUT_RANGE_OPTION,
    NO_FACES_OPTION,
    PATH_TYPE,
    QUICK_OPTION,
    PixelRange,
    options,
)

if TYPE_CHECKING:
    from feredge.api.benchmarking import EffortName

SECONDS_PER_UNIT = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
MAX_DURATION_SECONDS = 7 * 24 * 3600
RUNTIME_NAMES = ("xnnpack-off", "opencv", "tflite-micro", "web", "litert-js", "onnxruntime-web")


FILE_PREFIX = re.compile(r"(?P<file>[^:]+\.(?:onnx|tflite)):(?P<value>.*)", re.DOTALL)
"""Of an option's value for one file that feredge did not write: `net.onnx:-1..1`."""


def foreign_options(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with `classes`, `input_range` and `output` of files that feredge did not write.

    Values `FILE:VALUE` are for the file of that name; `foreign` of the settings has a ForeignModel for each of these.
    """
    given = {name: _by_file(settings[name]) for name in ("classes", "input_range", "output")}
    convert: dict[str, Callable[[str], Any]] = {"classes": _class_names, "input_range": _pixel_range, "output": str}
    defaults = {"classes": (), "input_range": (0.0, 1.0), "output": ""}

    def of_file(file: str) -> dict[str, Any]:
        texts = {name: values.get(file, values.get("")) for name, values in given.items()}
        return {name: defaults[name] if text is None else convert[name](text) for name, text in texts.items()}

    from feredge.inference.foreign import ForeignModel

    names = {file for values in given.values() for file in values if file}
    return {**settings, **of_file(""), "foreign": {file: ForeignModel(**of_file(file)) for file in sorted(names)}}


def _by_file(values: tuple[str, ...]) -> dict[str, str]:
    matches = [(FILE_PREFIX.fullmatch(value), value) for value in values]
    return {Path(match["file"]).name if match else "": match["value"] if match else value for match, value in matches}


def _class_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _pixel_range(text: str) -> tuple[float, float]:
    return PixelRange().convert(text, None, None)


class Counts(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.3 up
    """Whole numbers from 1 up: `1,8,32`."""

    name = "N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read the text of an option."""
        if isinstance(value, tuple):  # a default, converted already
            return value
        if not re.fullmatch(r"[1-9]\d{0,5}(,[1-9]\d{0,5})*", str(value)):
            self.fail(f"expected whole numbers from 1 to 999,999, as 1,8,32, found {value!r}", param, ctx)
        return tuple(int(part) for part in str(value).split(","))


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time with its unit, `500ms`, `1s`, `10m` or `2h`, converted to seconds."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the text of an option."""
        if isinstance(value, int | float):  # a default, converted already
            return float(value)
        match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)(ms|s|m|h)", str(value).strip(), re.ASCII)
        seconds = float(match[1]) * SECONDS_PER_UNIT[match[2]] if match else 0.0
        if not 0 < seconds <= MAX_DURATION_SECONDS:
            self.fail(f"expected a time of at most 168h, as 500ms, 1s, 10m or 2h, found {value!r}", param, ctx)
        return seconds


class WholeMinutes(Duration):
    """A time of whole minutes, `10m` or `1h`, converted to minutes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the text of an option."""
        if isinstance(value, int):  # a default, converted already
            return value
        seconds = super().convert(value, param, ctx)
        if seconds % 60:
            self.fail(f"expected whole minutes, as 10m, found {value!r}", param, ctx)
        return round(seconds / 60)


class Cores(click.ParamType):  # type: ignore[type-arg]
    """Names of Arm cores: `cortex-a72,cortex-a76`."""

    name = "CORE,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read the text of an option."""
        if isinstance(value, tuple):  # a default, converted already
            return value
        from feredge.bundles.mcu.cortex_m import CORES
        from feredge.devices.arm64 import EMULATED_CORES

        known = (*EMULATED_CORES, *CORES)
        names = tuple(str(value).split(","))
        if not set(names) <= set(known) or len(set(names)) < len(names):
            self.fail(f"expected some of {', '.join(known)}, each once, found {value!r}", param, ctx)
        return names


class RuntimeNames(click.ParamType):  # type: ignore[type-arg]
    """Names of runtimes, `opencv,tflite-micro`, or `all`."""

    name = "NAME,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read the text of an option."""
        if isinstance(value, tuple):  # a default, converted already
            return value
        names = RUNTIME_NAMES if value == "all" else tuple(str(value).split(","))
        for name in names:
            if name not in RUNTIME_NAMES:
                self.fail(f"expected all or some of {', '.join(RUNTIME_NAMES)}, found {name!r}", param, ctx)
        return names


EFFORT_OPTIONS = options(
    QUICK_OPTION,
    click.option(
        "--strict",
        is_flag=True,
        help="600 s of timed runs per file, and corruptions (noise, blur, ..., as in ImageNet-C) of all test images, "
        "not 1,000; none of these on a device.",
    ),
    click.option(
        "--threads",
        type=Counts(),
        default=(),
        help="Thread counts to measure, in addition to 1.  [default: all cores; none with --quick]",
    ),
    click.option(
        "--batch",
        "batches",
        type=Counts(),
        default=(),
        help="Batch sizes for throughput.  [default: 32; none with --quick]",
    ),
)
LOAD_OPTIONS = options(
    click.option(
        "--sustained",
        "sustained_minutes",
        type=WholeMinutes(),
        default=0,
        help="Also measure each file under sustained load for so long, as 10m: minute by minute, one file at a time.",
    ),
    click.option(
        "--rate",
        type=click.FloatRange(MIN_RATE, MAX_RATE),
        metavar="N",
        help="Calls a second under --sustained.  [default: as many as possible]",
    ),
    click.option(
        "--every",
        "idle_seconds",
        type=Duration(),
        default=0.0,
        help="Also measure the latency of single calls after idling for so long, as 1s.",
    ),
)
TARGET_OPTIONS = options(
    click.option(
        "--runtimes",
        type=RuntimeNames(),
        default=(),
        help=f"Other runtimes to measure in, too: {', '.join(RUNTIME_NAMES)}, or all. "
        "The last three run in Chromium; npm fetches the last two.",
    ),
    click.option(
        CLASSES_OPTION,
        multiple=True,
        metavar="[FILE:]NAME,...",
        help="Class names in the order of the outputs, of files that feredge did not write or whose classes are not "
        "the data's; with FILE: of that file. 'low = sad + fear' maps the output `low` to two classes of the "
        "data. May be repeated for other files.",
    ),
    click.option(
        INPUT_RANGE_OPTION,
        multiple=True,
        metavar="[FILE:]BLACK..WHITE",
        help="Input values of black and white pixels of files that feredge did not write; may be repeated.  "
        "[default: 0..1]",
    ),
    click.option(
        "--output",
        multiple=True,
        metavar="[FILE:]NAME",
        help="Output of such files that have several; may be repeated for other files.",
    ),
    click.option("--no-baselines", is_flag=True, help="Do not measure the scikit-learn baselines."),
    click.option(
        "--timeout",
        "timeout_seconds",
        type=click.FloatRange(1),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="Time limit for a file to load and to respond; one that exceeds it has failed. Keras networks and "
        "baselines have at least 300 s to load.",
    ),
    NO_FACES_OPTION,
    click.option(
        "--out", type=PATH_TYPE, help="Folder for the results.  [default: RUN if it is one run folder, else ./bench]"
    ),
)


def effort_name(quick: bool, strict: bool) -> EffortName:
    """Return the effort that two options choose."""
    if quick and strict:
        raise click.UsageError("--quick and --strict exclude each other")
    return "quick" if quick else "strict" if strict else "default"


def command_line() -> str:
    """Return the command; absolute paths are relative to the working directory, or shortened to their end."""
    return shlex.join(["feredge", *map(_without_folder, sys.argv[1:])])


def _without_folder(argument: str) -> str:
    option, equals, text = argument.rpartition("=")
    path = Path(text)
    if not text or not (path.is_absolute() or path.exists()):
        return argument
    full = path.absolute()
    if full.is_relative_to(Path.cwd()):
        short = full.relative_to(Path.cwd())
    else:  # the run's name distinguishes its files
        short = Path(*full.parts[-3:]) if full.parent.name == "artifacts" else Path(full.name)
    return f"{option}{equals}{short}"
