"""`feredge serve`: the Predictor behind HTTP."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path

import click

from feredge.commands.predicting import PREDICTOR, open_predictor
from feredge.console import echo
from feredge.errors import RunError


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind; 0.0.0.0 is every network.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@PREDICTOR
@click.option("--processes", type=click.IntRange(1), help="That share the port.  [default: one a core, see above]")
@click.option("--max-mb", type=click.FloatRange(0.001), default=10.0, show_default=True, help="Of a request.")
@click.option("--max-megapixels", type=click.FloatRange(0.001), default=25.0, show_default=True, help="Of a picture.")
@click.option("--max-pictures", type=click.IntRange(1), default=64, show_default=True, help="In a request.")
@click.option("--queue", type=click.IntRange(1), default=256, show_default=True, help="Pictures that may wait.")
@click.option("--max-waiting-mb", type=click.FloatRange(0.001), help="Under way.  [default: 4 requests a process]")
@click.option(
    "--max-waiting-megapixels", type=click.FloatRange(0.001), help="That wait.  [default: 4 requests a process]"
)
@click.option("--header-seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="To send headers.")
@click.option("--body-seconds", type=click.FloatRange(0.1), default=30.0, show_default=True, help="To send a body.")
@click.option("--max-connections", type=click.IntRange(1), default=4096, show_default=True, help="Open at once.")
@click.option(
    "--max-connections-per-address", type=click.IntRange(1, 65535), help="Of one client.  [default: no limit]"
)
@click.option("--proxy", metavar="ADDRESS", help="Of a proxy whose X-Forwarded-For names the client.")
@click.option("--cors", "origins", metavar="ORIGIN", multiple=True, help="Whose pages may use the service; * for all.")
def command(
    host: str,
    port: int,
    processes: int | None,
    model: Path | None,
    threads: int | None,
    yunet: Path | None,
    face: bool,
    margin: float,
    max_mb: float,
    max_megapixels: float,
    max_pictures: int,
    queue: int,
    max_waiting_mb: float | None,
    max_waiting_megapixels: float | None,
    header_seconds: float,
    body_seconds: float,
    max_connections: int,
    max_connections_per_address: int | None,
    proxy: str | None,
    origins: tuple[str, ...],
) -> None:
    """Serve predictions over HTTP: POST a picture to /predict, or open the page.

    Processes do not wait for each other as the threads of one do: under load, two on two cores answer 1.15 to 2 times
    as many requests as one, and each takes about 80 MB more. Without --processes there is one a core, as long as each
    can hold the largest request (with the other defaults: up to 4). A single request is answered by one process.

    docs/serving.md says what each limit is for, and how a proxy adds TLS and authentication.

    Ctrl-C or SIGTERM ends it after the requests that came in are answered.
    """
    for name in ("fastapi", "uvicorn", "httptools", "python_multipart", "prometheus_client"):
        if find_spec(name) is None:
            raise RunError(f"this command needs {name}: pip install 'feredge[serve]'")
    try:
        proxy = proxy and str(ip_address(proxy))
    except ValueError as error:
        raise click.UsageError(f"expected an IP address for --proxy, found {proxy!r}") from error
    from feredge.inference.pictures import OPENCV_LIMIT_VARIABLE
    from feredge.inference.runtimes import available_cores
    from feredge.inspection.opening import try_open
    from feredge.serve.limits import service_limits
    from feredge.serve.processes import ServiceConfig, listen, serve_process, serve_processes

    wide = threads or available_cores()
    count = processes or max(1, min(wide, queue // max_pictures))
    if count > 1 and count * max_pictures > queue:
        raise click.UsageError(f"expected --queue of at least --processes times --max-pictures, {count * max_pictures}")
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
    try_open(model, yunet)
    with open_predictor(model, 1, yunet) as predictor:
        config = ServiceConfig(
            predictor.path, yunet, max(1, wide // count), not face, margin / 100, limits, origins, proxy
        )
        try:
            listeners = listen(host, port, count)
        except OSError as error:
            raise RunError(f"{host}:{port}: expected an address to serve at ({error.strerror})") from error
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listeners[0].getsockname()[1]}"
        say = partial(echo, err=True)
        started = partial(say, f"serving {predictor.path.name} at {address} (Ctrl-C ends)")
        if count == 1:
            # uvicorn raises either signal again when it is through
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            with suppress(KeyboardInterrupt):
                serve_process(config, listeners[0], predictor, on_ready=started)
            return
    serve_processes(config, listeners, predictor.classes, on_ready=started, notify=say)
