"""Search for a network that fits a device."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feredge.api.benchmarking import Device
from feredge.api.cancel import Cancel, cancellable
from feredge.api.dataframe import to_dataframe
from feredge.api.training import Overrides, override_texts
from feredge.errors import FeredgeError
from feredge.progress import Progress, quiet

if TYPE_CHECKING:
    import pandas

    from feredge.api.datasets import DataSource
    from feredge.data import Dataset
    from feredge.devices.ssh import Device as SSHDevice
    from feredge.search.costs import Limits
    from feredge.search.estimate import SearchEstimate
    from feredge.search.final_evaluation import FinalEvaluation
    from feredge.search.results import StudyResults
    from feredge.search.space import Space


@dataclass(frozen=True, eq=False)
class SearchResult:
    """A study.

    Attributes:
        path: the study folder.
        results: its trials.
        final_evaluation: the finalists, if there are any yet.
        page: the HTML report.
    """

    path: Path
    results: StudyResults
    final_evaluation: FinalEvaluation | None
    page: Path

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per trial: state, accuracy, costs and drawn parameters."""
        return to_dataframe(self.results.rows())


def search(
    space: str | PathLike[str],
    data: DataSource,
    *,
    out: str | PathLike[str],
    trials: int | None = None,
    hours: float | None = None,
    max_kb: float | None = None,
    max_ms: float | None = None,
    max_ram_kb: float | None = None,
    max_macs: float | None = None,
    max_instructions: float | None = None,
    device: Device | str | None = None,
    core: str = "",
    overrides: Overrides = (),
    seed: int = 1,
    leave_out: str | PathLike[str] | Sequence[int] | None = None,
    start_from: str | PathLike[str] | None = None,
    teachers: Sequence[str | PathLike[str]] = (),
    storage: str | None = None,
    workers: int = 1,
    finalists: int | None = None,
    keep_all: bool = False,
    skip_bad_rows: bool = False,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> SearchResult:
    """Search a space of recipes for the most accurate network within limits; the same call goes on with a study.

    Each candidate is exported untrained to int8 first; one whose files exceed a limit is not trained. The others are
    trained by successive halving, and compared on the validation images only.

    Args:
        space: a name of the built-in spaces (`residual`, `training`), or a `.toml` file.
        data: a FER2013 csv, a folder with one subfolder per class, `drawn:N`, or a Dataset.
        out: the study folder.
        trials: number of trained candidates that the study is to have; those that do not fit the limits do not count.
        hours: after which no further epoch begins; an unfinished trial goes on in the next call.
        max_kb: largest int8 file, in units of 1,000 bytes.
        max_ms: longest latency of one image on one thread, in ms.
        max_ram_kb: largest memory of the activations, in units of 1,000 bytes.
        max_macs: most multiply-adds of one image.
        max_instructions: most instructions of one image on `core`.
        device: measure latencies on this device, over ssh.
        core: Arm core to emulate for instruction counts: `cortex-a72`; or a microcontroller's, `cortex-m4`: then the
            C library is measured, its RAM, and as its size that of its weights and tables in flash.
        overrides: values of the space that replace the file's.
        seed: of the sampler.
        leave_out: row numbers, or a file of them, to exclude from training and validation.
        start_from: a trained network whose weights candidates start with, as far as their layers fit.
        teachers: trained networks for online distillation.
        storage: URL of a database, `postgresql+psycopg://USER@HOST/NAME`, for a study on several machines.
        workers: number of processes.
        finalists: the most accurate of the front to train again with 3 seeds each and to evaluate on the test images;
            by default 3 once the study has its `trials`, none when the time has passed before.
        keep_all: keep the weights of all trials, not only of those on the front.
        skip_bad_rows: skip invalid csv rows.
        progress: called between steps.
        cancel: polled between steps.

    Raises:
        RecipeError: an unknown space, or an invalid value in it.
        DataError: not a data set, or one without validation images.
        RunError: `out` belongs to another study.
        FeredgeError: no candidate fits the limits, or a storage that does not respond.
        Cancelled: `cancel` returned True.
    """
    if trials is None and hours is None:
        raise FeredgeError("expected a number of trials or of hours, found neither")
    if max_instructions is not None and not core:
        raise FeredgeError("expected a core to count instructions on, found none")
    _check_core(core, max_ms, device)
    limits = _limits(max_kb, max_ms, max_ram_kb, max_macs, max_instructions)
    _check_positive(trials=trials, hours=hours, workers=workers)
    table, _ = _read_space(space, overrides)
    started = time.time()
    from feredge.search.study_run import run_study
    from feredge.search.worker import WorkerOptions

    options = WorkerOptions(
        Path(out),
        storage,
        _data_source(data),
        skip_bad_rows,
        _row_numbers(leave_out),
        None if start_from is None else Path(start_from),
        tuple(map(Path, teachers)),
        trials,
        None if hours is None else started + 3600.0 * hours,
        keep_all=keep_all,
        device=None if device is None else _ssh_device(device),
        core=core,
        finalists=finalists,
    )
    results = run_study(
        options, table, seed=seed, limits=limits, workers=workers, progress=cancellable(progress, cancel)
    )
    return _study_result(Path(out), results)


def estimate_search(
    space: str | PathLike[str],
    data: DataSource,
    *,
    trials: int = 100,
    max_kb: float | None = None,
    max_ram_kb: float | None = None,
    max_macs: float | None = None,
    core: str = "",
    overrides: Overrides = (),
    leave_out: str | PathLike[str] | Sequence[int] | None = None,
    skip_bad_rows: bool = False,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> SearchEstimate:
    """Estimate what a search would cost on this machine, from a few candidates; arguments and errors as of `search`."""
    limits = _limits(max_kb, None, max_ram_kb, max_macs)
    _check_positive(trials=trials)
    _check_core(core)
    _, parsed = _read_space(space, overrides)
    from feredge.search.estimate import estimate_study
    from feredge.search.worker import WorkerOptions

    options = WorkerOptions(Path(), None, _data_source(data), skip_bad_rows, _row_numbers(leave_out), core=core)
    return estimate_study(parsed, options, limits, trials=trials, progress=cancellable(progress, cancel))


def study(path: str | PathLike[str]) -> SearchResult:
    """Read the results of a study as they were after its last trial, and write its page again.

    Args:
        path: a study folder.

    Raises:
        RunError: not a study folder, or one without results.
    """
    from feredge.paths import StudyPath, require
    from feredge.search.results import StudyResults
    from feredge.search.study import StudyFolder

    folder = require(path, StudyPath).path
    return _study_result(folder, StudyResults.read(StudyFolder(folder)))


def _study_result(path: Path, results: StudyResults) -> SearchResult:
    """Write a study's page, and return the study."""
    from feredge.search.final_evaluation import FinalEvaluation
    from feredge.search.page import write_study_page
    from feredge.search.study import StudyFolder

    folder = StudyFolder(path)
    final_evaluation = FinalEvaluation.read(folder)
    write_study_page(folder, results, final_evaluation)
    return SearchResult(path, results, final_evaluation, folder.page)


def _limits(
    max_kb: float | None,
    max_ms: float | None,
    max_ram_kb: float | None,
    max_macs: float | None,
    max_instructions: float | None = None,
) -> Limits:
    from feredge.search.costs import Limits

    limits = Limits(max_kb, max_ms, max_ram_kb, max_macs, max_instructions)
    _check_positive(**vars(limits))
    return limits


def _check_core(core: str, max_ms: float | None = None, device: Device | str | None = None) -> None:
    """Raise FeredgeError for an unknown core, or for latencies beside a microcontroller's, where none are measured."""
    from feredge.bundles.mcu.cortex_m import CORES as MICROCONTROLLER_CORES
    from feredge.devices.instruction_count import check_core

    if core:
        check_core(core)
    if core in MICROCONTROLLER_CORES and not (max_ms is None and device is None):
        raise FeredgeError(f"expected no device and no limit in ms with {core}, on which nothing is timed, found one")


def _ssh_device(device: Device | str) -> SSHDevice:
    from feredge.devices.ssh import Address
    from feredge.devices.ssh import Device as SSHDevice

    remote = device if isinstance(device, Device) else Device(device)
    return SSHDevice(Address.parse(remote.address), remote.python, remote.ssh_options)


def _read_space(space: str | PathLike[str], overrides: Overrides) -> tuple[dict[str, Any], Space]:
    """Return a space as a table, and parsed."""
    from feredge.search import space as spaces

    table, where = spaces.read(Path(space), overrides=override_texts(overrides))
    return table, spaces.parse(table, where)


def _check_positive(**values: float | None) -> None:
    """Raise FeredgeError for a number that is not above 0."""
    for name, value in values.items():
        if value is not None and not value > 0:
            raise FeredgeError(f"{name}: expected a number above 0, found {value}")


def _data_source(data: DataSource) -> str | Dataset:
    from feredge.data import Dataset

    return data if isinstance(data, Dataset) else str(data)


def _row_numbers(rows: str | PathLike[str] | Sequence[int] | None) -> tuple[int, ...]:
    from feredge.data import read_row_numbers

    if rows is None:
        return ()
    return tuple(read_row_numbers(Path(rows)) if isinstance(rows, str | PathLike) else rows)
