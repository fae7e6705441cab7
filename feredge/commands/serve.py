"""`feredge serve`: the Predictor behind HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import feredge
from feredge.commands.predicting import with_predictor_options

if TYPE_CHECKING:
    from feredge.api.predictor_options import PredictorOptions


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind; 0.0.0.0 is every network.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@with_predictor_options
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
def command(options: PredictorOptions, **service: Any) -> None:
    """Serve predictions over HTTP: POST a picture to /predict, or open the page.

    Processes do not wait for each other as the threads of one do: under load, two on two cores answer 1.15 to 2 times
    as many requests as one, and each takes about 80 MB more. Without --processes there is one a core, as long as each
    can hold the largest request (with the other defaults: up to 4). A single request is answered by one process.

    docs/serving.md says what each limit is for, and how a proxy adds TLS and authentication.

    Ctrl-C or SIGTERM ends it after the requests that came in are answered.
    """
    feredge.serve(options=options, **service)
