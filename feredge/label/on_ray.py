"""The Predictor as a stage of Ray Data. Needs the extra `feredge[ray]`.

In a pipeline of your own:

    ray.data.read_parquet("pictures.parquet").map_batches(Stage, fn_constructor_kwargs={"column": "path"}, ...)
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feredge.errors import PictureError, RunError
from feredge.inference.face import Face, PictureResult
from feredge.inference.predictor import Predictor
from feredge.label.labelling import Engine

BATCH = 64  # pictures sent to a worker at a time; what is lost with a worker, and done again


class Stage:
    """A callable class for `map_batches`: adds the columns `faces` and `error` to a batch of pictures.

    `faces` is JSON text, a list of what `Face.to_dict` gives; `error` is text, empty where a picture could be used.

    Args:
        model: as `Predictor` takes it; the file must be there on every node.
        column: of paths, or of picture files' bytes.
        detect, margin: as `Predictor.stream` takes them.
        detector: as `Predictor` takes it.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        column: str = "picture",
        detect: bool = True,
        margin: float = 0.0,
        detector: Any = None,
    ) -> None:
        self._predictor = Predictor(model, threads=1, detector=detector)
        self._column = column
        self._detect = detect
        self._margin = margin

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch with its two new columns."""
        answers = self._predictor.classify(list(batch[self._column]), detect=self._detect, margin=self._margin)
        faces = [[] if isinstance(answer, PictureError) else answer for answer in answers]
        return {
            **batch,
            "faces": [json.dumps([face.to_dict() for face in found]) for found in faces],
            "error": [str(answer) if isinstance(answer, PictureError) else "" for answer in answers],
        }


def engine(
    predictor: Predictor, *, workers: int, address: str | None = None, detect: bool = True, margin: float = 0.0
) -> Engine:
    """Return what runs pictures on Ray Data, for `feredge.label.labelling.label`.

    A worker that dies is started again, and what it had is done again; the answers stay in order.

    Args:
        predictor: its model and detector are opened in every worker.
        workers: processes, with one thread each.
        address: of a cluster; None starts one on this machine, and stops it at the end.
        detect, margin: as `Predictor.stream` takes them.

    Raises:
        RunError: Ray is not installed, or no cluster is at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports to its maker by default
    try:
        import ray  # type: ignore[import-not-found,import-untyped]
        import ray.data  # type: ignore[import-not-found,import-untyped]
    except ImportError as error:
        raise RunError("this engine needs Ray: pip install 'feredge[ray]'") from error
    stage = {
        "model": str(Path(predictor.path).absolute()),
        "detect": detect,
        "margin": margin,
        "detector": predictor.detector if detect else None,
    }

    def run(pictures: Sequence[str]) -> Iterator[PictureResult]:
        if not pictures:  # stopped when only the end was left: Ray takes no empty list
            return
        started = not ray.is_initialized()
        if started:
            _knock(address)
            try:
                with _sigterm_handler():
                    ray.init(address, **({} if address else {"num_cpus": workers}), **QUIET)
            except ConnectionError as error:
                raise RunError(f"{address}: expected a Ray cluster, found none") from error
        try:
            context = ray.data.DataContext.get_current()
            context.execution_options.preserve_order = True
            context.enable_progress_bars = False
            absolute = [{"picture": os.path.abspath(picture)} for picture in pictures]  # noqa: PTH100
            answers = ray.data.from_items(absolute, override_num_blocks=-(-len(absolute) // BATCH)).map_batches(
                Stage,
                fn_constructor_kwargs=stage,
                batch_size=BATCH,
                compute=ray.data.ActorPoolStrategy(size=workers),
                num_cpus=1,
                max_restarts=-1,
                max_task_retries=-1,
            )
            for row in answers.iter_rows():
                yield PictureError(row["error"]) if row["error"] else _faces(row["faces"], predictor.classes)
        finally:
            if started:
                ray.shutdown()

    return run


@contextmanager
def _sigterm_handler() -> Iterator[None]:
    """Leave SIGTERM's handler as it is: Ray sets its own in the main thread, which ends with the signal's number."""
    before = signal.getsignal(signal.SIGTERM)
    ended = False
    try:
        yield
    except SystemExit as error:
        ended = error.code == signal.SIGTERM
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
            if ended:
                signal.raise_signal(signal.SIGTERM)


def _knock(address: str | None) -> None:
    """Raise RunError where nobody listens; Ray itself would try for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError as error:
            raise RunError(f"{address}: expected a Ray cluster, found none ({error.strerror or error})") from error


QUIET = {"include_dashboard": False, "logging_level": "error", "log_to_driver": False}


def _faces(text: str, classes: tuple[str, ...]) -> list[Face]:
    return [
        Face(
            label=one["label"],
            confidence=one["confidence"],
            scores=tuple(one["probabilities"].values()),
            classes=classes,
            box=tuple(one["box"]) if one["box"] else None,  # type: ignore[arg-type]
        )
        for one in json.loads(text)
    ]
