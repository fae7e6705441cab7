"""A whole study: begun or continued, run by its workers, and ended by the final evaluation."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace

from feredge.devices.remote import check_device
from feredge.importing.from_onnx import load_trained
from feredge.progress import Progress, quiet
from feredge.recipes.schema import DataView
from feredge.search.costs import Limits
from feredge.search.dimensions import Table
from feredge.search.final_evaluation import FINALIST_COUNT, evaluate_finalists
from feredge.search.processes import run_workers
from feredge.search.results import StudyResults, collect_results, importances
from feredge.search.sampling import check_draws
from feredge.search.space import parse
from feredge.search.study import STUDY_SCHEMA, StudyFolder, StudySettings
from feredge.search.trials import is_counted
from feredge.search.worker import Search, WorkerOptions


def run_study(
    options: WorkerOptions,
    space: Table,
    *,
    seed: int,
    limits: Limits,
    workers: int = 1,
    progress: Progress = quiet,
) -> StudyResults:
    """Begin a study, or go on with it, until it has the trials that the options ask for, or its time has passed.

    Args:
        options: folder, storage, data and end.
        space: the TOML table of a valid space.
        seed: of the sampler.
        limits: of the candidates' costs.
        workers: number of processes; 1 works in this one.
        progress: called between steps.

    Raises:
        FeredgeError: see `feredge.search`.
    """
    parsed = parse(space, "the space")
    check_draws(parsed)
    view = parsed.base["data"]
    dataset = options.load(DataView(size=view["size"], channels=view["channels"]))
    settings = StudySettings(
        STUDY_SCHEMA,
        space,
        dataset.source,
        dataset.digest,
        _rows_digest(options.excluded_rows),
        seed,
        limits,
        "" if options.device is None else str(options.device.address),
        options.core,
        "" if options.start is None else load_trained(options.start).digest,
        tuple(load_trained(path).digest for path in options.teachers),
        "journal" if options.storage is None else "database",
    )
    if options.device is not None:
        check_device(options.device)
    StudyFolder.claim(options.folder, settings)
    if workers > 1:
        run_workers(replace(options, threads=max(1, (os.cpu_count() or 1) // workers)), workers, progress)
    else:
        Search(options, progress).run()
    search = Search(replace(options, deadline=None), progress)
    results = collect_results(settings, search.store.trials(), importances(search.store.study))
    results.write(search.folder)
    finalists = options.finalists
    if finalists is None:
        enough = options.count is not None and sum(map(is_counted, search.store.trials())) >= options.count
        finalists = FINALIST_COUNT if enough and not search.store.running() else 0
    evaluate_finalists(search.make_runner(), results.front[:finalists], progress)
    return results


def _rows_digest(rows: tuple[int, ...]) -> str:
    """Return the SHA-256 of excluded rows; empty without."""
    return hashlib.sha256(json.dumps(sorted(set(rows))).encode()).hexdigest() if rows else ""
