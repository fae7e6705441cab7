"""Prediction on Ray Data. Needs the extra `feredge[ray]`.

In a custom pipeline:

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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from feredge.errors import PictureError, RunError
from feredge.inference.face import Face, PictureResult
from feredge.inference.foreign import ForeignModel
from feredge.inference.predictor import Predictor
from feredge.label.predict import Engine

RAY_BATCH = 64  # pictures per task; a task is repeated if its worker dies


class Stage:
    """A callable class for Ray Data's `map_batches`: adds the columns `faces` and `error` to a batch of pictures.

    `faces` is JSON text, a list of `Face.to_dict()`; `error` is text, empty if the picture could be used.

    Args:
        model: as in `Predictor`; the file must exist on every node.
        column: name of the column of paths or of picture files' bytes.
        detect, margin: as `Predictor.stream` takes them.
        detector, unsure: as in `Predictor`.
        foreign: classes and input of a file without a card.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        column: str = "picture",
        detect: bool = True,
        margin: float = 0.0,
        detector: Any = None,
        foreign: ForeignModel | None = None,
        unsure: float | bool = False,
    ) -> None:
        options = {} if foreign is None else asdict(foreign)
        self._predictor = Predictor(model, threads=1, detector=detector, unsure=unsure, **options)
        self._column = column
        self._detect = detect
        self._margin = margin

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch with its two new columns."""
        results = self._predictor.classify(list(batch[self._column]), detect=self._detect, margin=self._margin)
        faces = [[] if isinstance(result, PictureError) else result for result in results]
        return {
            **batch,
            "faces": [json.dumps([face.to_dict() for face in picture_faces]) for picture_faces in faces],
            "error": [str(result) if isinstance(result, PictureError) else "" for result in results],
        }


def engine(
    predictor: Predictor, *, workers: int, address: str | None = None, detect: bool = True, margin: float = 0.0
) -> Engine:
    """Return an engine that runs pictures on Ray Data, for `feredge.label.predict.predict_pictures`.

    A worker that dies is restarted, and its tasks are repeated; results stay in order.

    Args:
        predictor: its model and detector are opened in every worker.
        workers: number of processes, with one thread each.
        address: of a cluster; None starts a local one, and stops it at the end.
        detect, margin: as `Predictor.stream` takes them.

    Raises:
        RunError: Ray is not installed, or the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports usage statistics by default
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
        "foreign": predictor.foreign,
        "unsure": predictor.unsure,
    }

    def run(pictures: Sequence[str]) -> Iterator[PictureResult]:
        if not pictures:  # nothing remains of a resumed job, and Ray does not accept an empty list
            return
        started = not ray.is_initialized()
        if started:
            _check_reachable(address)
            try:
                with _sigterm_handler():
                    ray.init(address, **({} if address else {"num_cpus": workers}), **RAY_INIT_OPTIONS)
            except ConnectionError as error:
                raise RunError(f"{address}: expected a Ray cluster, found none") from error
        try:
            context = ray.data.DataContext.get_current()
            context.execution_options.preserve_order = True
            context.enable_progress_bars = False
            absolute = [{"picture": os.path.abspath(picture)} for picture in pictures]  # noqa: PTH100
            results = ray.data.from_items(absolute, override_num_blocks=-(-len(absolute) // RAY_BATCH)).map_batches(
                Stage,
                fn_constructor_kwargs=stage,
                batch_size=RAY_BATCH,
                compute=ray.data.ActorPoolStrategy(size=workers),
                num_cpus=1,
                max_restarts=-1,
                max_task_retries=-1,
            )
            for row in results.iter_rows():
                yield PictureError(row["error"]) if row["error"] else _parse_faces(row["faces"], predictor.classes)
        finally:
            if started:
                ray.shutdown()

    return run


@contextmanager
def _sigterm_handler() -> Iterator[None]:
    """Restore SIGTERM's handler: `ray.init` replaces it in the main thread by one that raises SystemExit."""
    previous_handler = signal.getsignal(signal.SIGTERM)
    received = False
    try:
        yield
    except SystemExit as error:
        received = error.code == signal.SIGTERM
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, previous_handler)
            if received:
                signal.raise_signal(signal.SIGTERM)


def _check_reachable(address: str | None) -> None:
    """Raise RunError if nothing listens at the address; Ray itself would retry for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError as error:
            raise RunError(f"{address}: expected a Ray cluster, found none ({error.strerror or error})") from error


RAY_INIT_OPTIONS = {"include_dashboard": False, "logging_level": "error", "log_to_driver": False}


def _parse_faces(text: str, classes: tuple[str, ...]) -> list[Face]:
    return [
        Face(
            label=face["label"],
            confidence=face["confidence"],
            scores=tuple(face["probabilities"].values()),
            classes=classes,
            box=tuple(face["box"]) if face["box"] else None,  # type: ignore[arg-type]
            sure=face["label"] in classes,
        )
        for face in json.loads(text)
    ]
