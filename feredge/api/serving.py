"""Serving predictions over HTTP."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
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
    """Serve predictions over HTTP until Ctrl-C or SIGTERM, which end it after the requests that came in.

    Args:
        options: the model, and how faces are detected; `threads` are those of all processes.
        host: address to bind; `0.0.0.0` is every network.
        port: 0 takes a free one, which the log names.
        processes: that share the port; one a core if not given, as long as each can hold the largest request.
        max_mb: of a request.
        max_megapixels: of a picture.
        max_pictures: in a request.
        queue: pictures that may wait.
        max_waiting_mb: of requests under way; four requests a process if not given.
        max_waiting_megapixels: of pictures that wait; four requests a process if not given.
        header_seconds: within which a client must send its headers.
        body_seconds: within which a client must send a body.
        max_connections: open at once.
        max_connections_per_address: of one client; no limit if not given.
        proxy: address of a proxy whose X-Forwarded-For names the client.
        origins: whose pages may use the service; `*` for all.

    Raises:
        RunError: an address that cannot be bound, limits that do not fit each other, or a package that is missing.
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
    try_open(None if options.model is None else Path(options.model), yunet)
    with PredictorOptions(options.model, 1, yunet=yunet).open() as predictor:
        threads = max(1, wide // count)
        detect = not options.cropped
        config = ServiceConfig(predictor.path, yunet, threads, detect, options.margin, limits, tuple(origins), address)
        listeners = _listen(host, port, count)
        url = f"http://{f'[{host}]' if ':' in host else host}:{listeners[0].getsockname()[1]}"
        started = partial(logger.info, "serving %s at %s (Ctrl-C ends)", predictor.path.name, url)
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
        raise RunError(f"{host}:{port}: expected an address to serve at ({error.strerror})") from error


def _run_here(
    config: ServiceConfig, listener: socket.socket, predictor: Predictor, started: Callable[[], None]
) -> None:
    """Serve in this process, until SIGINT or SIGTERM."""
    from feredge.serve.processes import serve_process

    if threading.current_thread() is threading.main_thread():
        # uvicorn raises either signal again when it is through
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        serve_process(config, listener, predictor, on_ready=started)
