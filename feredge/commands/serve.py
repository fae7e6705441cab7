"""`feredge serve`: the Predictor behind HTTP."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import click

from feredge.commands.device import open_predictor, predictor_options
from feredge.errors import RunError


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind; 0.0.0.0 is every network.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@predictor_options
@click.option("--max-mb", type=click.FloatRange(0.001), default=10.0, show_default=True, help="Of a request.")
@click.option("--max-megapixels", type=click.FloatRange(0.001), default=25.0, show_default=True, help="Of a picture.")
@click.option("--max-pictures", type=click.IntRange(1), default=64, show_default=True, help="In a request.")
@click.option("--queue", type=click.IntRange(1), default=256, show_default=True, help="Pictures that may wait.")
def command(
    host: str,
    port: int,
    model: Path | None,
    threads: int | None,
    yunet: Path | None,
    face: bool,
    margin: float,
    max_mb: float,
    max_megapixels: float,
    max_pictures: int,
    queue: int,
) -> None:
    """Serve predictions over HTTP: POST a picture to /predict, or open the page.

    Ctrl-C or SIGTERM ends it after the requests that came in are answered.
    """
    try:
        import uvicorn  # type: ignore[import-not-found,import-untyped]

        from feredge.serve.app import Limits, create_app
    except ImportError as error:
        raise RunError("this command needs FastAPI and uvicorn: pip install 'feredge[serve]'") from error
    cores = threads or len(os.sched_getaffinity(0))
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise RunError(f"{host}:{port}: expected an address to serve at ({error.strerror})") from error
    limits = Limits(int(max_mb * 1e6), int(max_megapixels * 1e6), max_pictures, queue)
    predictor = open_predictor(model, 1, yunet)
    app = create_app(predictor, threads=cores, find=not face, margin=margin / 100, limits=limits)
    config = uvicorn.Config(
        app,
        log_level="error",  # a warning for each 503 would make overload worse
        access_log=False,
        timeout_graceful_shutdown=30,
        # Beyond this uvicorn answers 503 by itself: bodies that are coming in take memory too.
        limit_concurrency=queue + 64,
        server_header=False,
    )
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"serving {predictor.path.name} at http://{shown}:{listener.getsockname()[1]} (Ctrl-C ends)", err=True)
    uvicorn.Server(config).run(sockets=[listener])
