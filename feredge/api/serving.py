"""Serve predictions over HTTP."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from feredge.api.predictor_options import DEFAULT_OPTIONS, PredictorOptions
from feredge.errors import RunError

if TYPE_CHECKING:
    from feredge.inference.predictor import Predictor
    from feredge.serve.processes import ServiceConfig

logger = logging.getLogger(__name__)
SERVE_PACKAGES = ("fastapi", "uvicorn", "httptools", "python_multipart", "prometheus_client")


def serve(
    *,
    options: PredictorOptions = DEFAULT_OPTIONS,
    host: str = "127.0.0.1",
    port: int = 8000,
    processes: int | None = None,
    max_mb: float = 10.0,
    max_megapixels: float = 25.0,
    max_pictures: int = 64,
    queue: int = 256,
    max_waiting_mb: float | None = None,
    max_waiting_megapixels: float | None = None,
    header_seconds: float = 10.0,
    body_seconds: float = 30.0,
    max_connections: int = 4096,
    max_connections_per_address: int | None = None,
    proxy: str | None = None,
    origins: Sequence[str] = (),
) -> None:
    """Serve predictions over HTTP until Ctrl-C or SIGTERM; requests already received are answered first.

    Args:
        options: the model, and how faces are detected; `threads` is the number for all processes.
        host: address to bind; `0.0.0.0` for all interfaces.
        port: port; 0 for any free port, which is logged.
        processes: number of server processes; by default one per core or thread, at most `queue // max_pictures`.
        max_mb: largest request body, in MB.
        max_megapixels: largest picture, in megapixels.
        max_pictures: most pictures in a request.
        queue: most pictures in the queue.
        max_waiting_mb: most megabytes of pending request bodies; by default 4 of the largest requests per process.
        max_waiting_megapixels: most megapixels of queued pictures; by default 4 of the largest requests per process.
        header_seconds: time limit for a client to send the headers.
        body_seconds: time limit to receive a body, and to send a response.
        max_connections: most open connections.
        max_connections_per_address: most open connections per client address (with `proxy`: active requests); no
            limit by default.
        proxy: address of a trusted proxy; its X-Forwarded-For is the client's address.
        origins: origins allowed to send cross-origin requests; `*` for all.

    Raises:
        RunError: an address that cannot be bound, inconsistent limits, or a missing package.
        ArtifactError: a model or YuNet file that is missing or damaged.
    """
    for name in SERVE_PACKAGES:
        if find_spec(name) is None:
            raise RunError(f"this command needs {name}: pip install 'feredge[serve]'")
    address = _checked_address(proxy)  # before the slow imports
    from feredge.inference.pictures import OPENCV_LIMIT_VARIABLE
    from feredge.inference.runtimes import available_cores
    from feredge.inspection.opening import try_open
    from feredge.serve.limits import service_limits
    from feredge.serve.processes import ServiceConfig, serve_processes

    wide = options.threads or available_cores()
    count = processes or max(1, min(wide, queue // max_pictures))
    if count > 1 and count * max_pictures > queue:
        raise RunError(f"expected --queue of at least --processes times --max-pictures, {count * max_pictures}")
    limits = service_limits(
        count,
        bytes=int(max_mb * 1e6),
        pixels=int(max_megapixels * 1e6),
        pictures=min(max_pictures, queue),
        waiting=queue,
        waiting_bytes=None if max_waiting_mb is None else int(max_waiting_mb * 1e6),
        waiting_pixels=None if max_waiting_megapixels is None else int(max_waiting_megapixels * 1e6),
        connections=max_connections,
        connections_per_address=max_connections_per_address,
        header_seconds=header_seconds,
        body_seconds=body_seconds,
    )
    os.environ[OPENCV_LIMIT_VARIABLE] = str(limits.pixels)
    yunet = None if options.yunet is None else Path(options.yunet)
    try_open(None if options.model is None else Path(options.model), yunet, options.foreign)
    with replace(options, threads=1, yunet=yunet).open() as predictor:
        threads = max(1, wide // count)
        detect = options.detects_faces(predictor)
        config = ServiceConfig(
            predictor.path,
            yunet,
            threads,
            detect,
            options.margin,
            limits,
            tuple(origins),
            address,
            options.foreign,
            options.unsure,
        )
        listeners = _listen(host, port, count)
        url = f"http://{f'[{host}]' if ':' in host else host}:{listeners[0].getsockname()[1]}"
        started = partial(logger.info, "serving %s at %s (Ctrl-C stops)", predictor.path.name, url)
        if count == 1:
            _run_here(config, listeners[0], predictor, started)
            return
    serve_processes(config, listeners, predictor.classes, on_ready=started, notify=partial(logger.info, "%s"))


def _checked_address(proxy: str | None) -> str | None:
    try:
        return proxy and str(ip_address(proxy))
    except ValueError as error:
        raise RunError(f"expected an IP address for --proxy, found {proxy!r}") from error


def _listen(host: str, port: int, processes: int) -> list[socket.socket]:
    from feredge.serve.processes import listen

    try:
        return listen(host, port, processes)
    except OSError as error:
        raise RunError(f"{host}:{port}: cannot bind to this address ({error.strerror})") from error


def _run_here(
    config: ServiceConfig, listener: socket.socket, predictor: Predictor, started: Callable[[], None]
) -> None:
    """Serve in this process, until SIGINT or SIGTERM."""
    from feredge.serve.processes import serve_process

    if threading.current_thread() is threading.main_thread():
        # uvicorn raises the signal again after its shutdown
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        serve_process(config, listener, predictor, on_ready=started)
