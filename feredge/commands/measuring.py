"""Options of `feredge bench` that say what is measured and how hard, and the measuring here."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from feredge.commands.shared import NO_FACES, PATH, QUICK, bars, options, show

if TYPE_CHECKING:
    from feredge.benchmark import Results

RUNTIMES = ("xnnpack-off", "opencv", "tflite-micro")


class Counts(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.3 up
    """Whole numbers from 1 up: `1,8,32`."""

    name = "N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read the text of an option."""
        if not re.fullmatch(r"[1-9]\d{0,5}(,[1-9]\d{0,5})*", str(value)):
            self.fail(f"expected whole numbers from 1 up, as 1,8,32, found {value!r}", param, ctx)
        return tuple(int(part) for part in str(value).split(","))


class Cores(click.ParamType):  # type: ignore[type-arg]
    """Names of Arm cores: `cortex-a72,cortex-a76`."""

    name = "CORE,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read the text of an option."""
        from feredge.devices.arm64 import EMULATED_CORES

        names = tuple(str(value).split(","))
        if not set(names) <= set(EMULATED_CORES) or len(set(names)) < len(names):
            self.fail(f"expected some of {', '.join(EMULATED_CORES)}, found {value!r}", param, ctx)
        return names


class Range(click.ParamType):  # type: ignore[type-arg]
    """Two different numbers: `-1..1`."""

    name = "BLACK..WHITE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Read the text of an option."""
        number = r"[-+]?\d+(?:\.\d+)?"
        found = re.fullmatch(rf"({number})\.\.({number})", str(value))
        if not found or float(found[1]) == float(found[2]):
            self.fail(f"expected what black and white are, as -1..1, found {value!r}", param, ctx)
        return float(found[1]), float(found[2])


class Names(click.ParamType):  # type: ignore[type-arg]
    """Names of runtimes, `opencv,tflite-micro`, or `all`."""

    name = "NAME,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read the text of an option."""
        names = RUNTIMES if value == "all" else tuple(str(value).split(","))
        for name in names:
            if name not in RUNTIMES:
                self.fail(f"expected all or some of {', '.join(RUNTIMES)}, found {name!r}", param, ctx)
        return names


HOW_HARD = options(
    QUICK,
    click.option("--strict", is_flag=True, help="600 s a file, and corrupted copies of every image."),
    click.option("--threads", type=Counts(), help="Time at these thread counts beside 1.  [default: all cores]"),
    click.option("--batch", "batches", type=Counts(), help="Batch sizes for throughput.  [default: 32]"),
)
WHAT = options(
    click.option("--also", type=Names(), help=f"In other runtimes too: {', '.join(RUNTIMES)}, or all."),
    click.option("--classes", help="Of files without a card, in their order: 'happy, low = sad + fear'"),
    click.option("--pixels", type=Range(), default="0..1", show_default=True, help="Black and white to such files."),
    click.option("--no-baselines", is_flag=True, help="Leave the classical baselines out."),
    click.option(
        "--timeout",
        type=click.FloatRange(1),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="A file that does not open or answer within it is a row that says so.",
    ),
    NO_FACES,
    click.option("--out", type=PATH, help="Folder for the results.  [default: RUN, else ./bench]"),
)


def measure_here(
    targets: Sequence[Path],
    data: str | None,
    *,
    quick: bool,
    strict: bool,
    threads: tuple[int, ...] | None,
    batches: tuple[int, ...] | None,
    also: tuple[str, ...] | None,
    classes: str | None,
    pixels: tuple[float, float],
    no_baselines: bool,
    timeout: float,
    no_faces: bool,
    out: Path | None,
    arm: tuple[str, ...],
    check_data: Callable[[str], None],
) -> Results:
    """Measure the targets here, write results and page, and show them.

    `check_data` gets the SHA-256 of the data that were read, before anything is measured, and raises to refuse them.
    """
    from feredge import report
    from feredge.benchmark import (
        BenchmarkConfig,
        TargetOptions,
        collect_candidates,
        measure_candidates,
        write_results,
    )
    from feredge.run import RunFolder

    hard = BenchmarkConfig.preset(named(quick, strict), threads=threads or (), batches=batches or ())
    words = tuple(part.strip() for part in (classes or "").split(",") if part.strip())
    asked = TargetOptions(also or (), words, *pixels, baselines=not no_baselines, timeout_seconds=timeout)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)  # a wrong place is told before hours of measuring
    with bars() as progress:
        found = collect_candidates(targets, data, asked, progress=progress)
        check_data(found.test_sets[0].splits.test.digest)
        results, evidence = measure_candidates(
            found.test_sets,
            hard,
            recipe=found.recipe,
            notes=found.notes,
            command=command_line(),
            timeout_seconds=timeout,
            progress=progress,
        )
        if arm:
            from feredge.devices.instruction_count import add_counts

            for group in found.test_sets:
                results = add_counts(results, group.candidates, group.splits.test.batch, arm, progress=progress)
    folder = RunFolder(out or (targets[0] if found.is_run else Path("bench")))
    write_results(results, evidence, folder.results)
    faces = {} if no_faces else report.flip_thumbnails(results, (group.splits.test for group in found.test_sets))
    report.write_html(results, folder.report, thumbnails=faces)
    show(results, folder.report)
    return results


def named(quick: bool, strict: bool) -> str:
    """Return the effort's name that two options ask for."""
    if quick and strict:
        raise click.UsageError("--quick and --strict exclude each other")
    return "quick" if quick else "strict" if strict else "default"


def command_line() -> str:
    """Return the command as it was given. Of a path outside this folder only the end is told."""
    return shlex.join(["feredge", *map(_without_folder, sys.argv[1:])])


def _without_folder(word: str) -> str:
    option, equals, path = word.rpartition("=")
    place = Path(path)
    if not path or not (place.is_absolute() or place.exists()):
        return word
    full = place.absolute()
    if full.is_relative_to(Path.cwd()):
        told = full.relative_to(Path.cwd())
    else:  # a run's name tells its files apart
        told = Path(*full.parts[-3:]) if full.parent.name == "artifacts" else Path(full.name)
    return f"{option}{equals}{told}"
