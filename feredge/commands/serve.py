"""`feredge serve`: the Predictor behind HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import feredge
from feredge.commands.predicting import with_predictor_options

if TYPE_CHECKING:
    from feredge.api.predictor_options import PredictorOptions


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind; 0.0.0.0 for all interfaces.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0 for any free port."
)
@with_predictor_options
@click.option("--processes", type=click.IntRange(1), help="Number of server processes.  [default: see above]")
@click.option(
    "--max-mb", type=click.FloatRange(0.001), default=10.0, show_default=True, help="Largest request body, in MB."
)
@click.option(
    "--max-megapixels",
    type=click.FloatRange(0.001),
    default=25.0,
    show_default=True,
    help="Largest picture, in megapixels.",
)
@click.option(
    "--max-pictures", type=click.IntRange(1), default=64, show_default=True, help="Most pictures in a request."
)
@click.option("--queue", type=click.IntRange(1), default=256, show_default=True, help="Most pictures in the queue.")
@click.option(
    "--max-waiting-mb",
    type=click.FloatRange(0.001),
    help="Most megabytes of pending request bodies.  [default: 4 of the largest requests per process]",
)
@click.option(
    "--max-waiting-megapixels",
    type=click.FloatRange(0.001),
    help="Most megapixels of queued pictures.  [default: 4 of the largest requests per process]",
)
@click.option(
    "--header-seconds",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help="Time limit for a client to send the headers, in seconds.",
)
@click.option(
    "--body-seconds",
    type=click.FloatRange(0.1),
    default=30.0,
    show_default=True,
    help="Time limit to receive a body, and to send a response, in seconds.",
)
@click.option(
    "--max-connections", type=click.IntRange(1), default=4096, show_default=True, help="Most open connections."
)
@click.option(
    "--max-connections-per-address",
    type=click.IntRange(1, 65535),
    help="Most open connections per client address (with --proxy: active requests).  [default: no limit]",
)
@click.option(
    "--proxy", metavar="ADDRESS", help="Address of a trusted proxy; its X-Forwarded-For is the client's address."
)
@click.option(
    "--cors",
    "origins",
    metavar="ORIGIN",
    multiple=True,
    help="Origin allowed to send cross-origin requests; * for all; may be repeated.",
)
def command(options: PredictorOptions, **service: Any) -> None:
    """Serve predictions over HTTP: POST a picture to /predict, or open the web page.

    Under load, two processes on two cores answer 1.15 to 2 times as many requests as one, because separate
    processes do not wait for each other, as the threads of one process do. Each additional process takes about 80 MB.
    The default is one process per core, or per thread of --threads, but at most --queue divided by --max-pictures (4 by
    default), so that each can hold the largest request. A single request is answered by one process.

    docs/guide/serving.md explains the limits, and how a proxy adds TLS and authentication.

    Ctrl-C or SIGTERM stops the server after it has answered the requests already received.
    """
    feredge.serve(options=options, **service)
