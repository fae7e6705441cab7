"""The HTTP service as an ASGI application: prediction, health, metrics, and a web page.

    POST /predict          body: one picture file               -> {"faces": [...]}
    POST /predict          multipart/form-data, many files      -> {"pictures": [{"faces": [...]} or {"error": ...}]}
    POST /predict          application/json {"picture": BASE64} -> {"faces": [...]}
    POST /predict          application/json {"pictures": [BASE64, ...]} -> {"pictures": [...]}
    POST /predict?face=1   each picture is one face; face=0 detects faces
    GET  /health           the model and its classes
    GET  /metrics          Prometheus text
    GET  /                 the web page

HEAD is supported wherever GET is.

Status codes: 413 for a request or picture that is too large, 415 for an unsupported picture format, 422 for a damaged
picture, 400 for a malformed request, 408 for a slow one, 431 for headers that are too large, 503 under overload.
No picture is stored or forwarded.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response  # type: ignore[import-not-found]
from fastapi.responses import HTMLResponse, PlainTextResponse  # type: ignore[import-not-found]
from starlette.exceptions import HTTPException  # type: ignore[import-not-found]
from starlette.middleware.cors import CORSMiddleware  # type: ignore[import-not-found]

import feredge
from feredge.inference.predictor import Predictor
from feredge.serve.batcher import Batcher
from feredge.serve.limits import SMALL_BODY, Budget, Limits
from feredge.serve.metrics import Metrics
from feredge.serve.request import Receive, handle_predict

UVICORN_LOGGER = logging.getLogger("uvicorn.error")  # which uvicorn sends to stderr
PAGE_PATH = Path(__file__).parent / "page.html"

Headers = list[tuple[bytes, bytes]]
Predict = Callable[[Any, Receive], Awaitable[tuple[int, Headers, bytes]]]


class Service(FastAPI):  # type: ignore[misc]
    """FastAPI, but POST /predict bypasses its routing.

    Routing, validation and dependency injection would cost as much as the inference.
    """

    predict: Predict

    async def __call__(self, scope: Any, receive: Receive, send: Any) -> None:
        """Handle one request, or the application's lifespan."""
        if scope["type"] != "http" or scope["path"] != "/predict" or scope["method"] != "POST":
            return await super().__call__(scope, receive, send)  # type: ignore[no-any-return]
        status, headers, body = await self.predict(scope, receive)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def create_app(
    predictor: Predictor,
    *,
    threads: int = 1,
    detect: bool = True,
    margin: float = 0.0,
    limits: Limits | None = None,
    metrics: Metrics | None = None,
    origins: Sequence[str] = (),
    heartbeat: Callable[[Batcher], Awaitable[None]] | None = None,
) -> Any:
    """Return the service as an ASGI application; it closes the Predictor on shutdown.

    Args:
        predictor: runs the inference; best opened with one thread.
        threads: number of inference threads.
        detect: detect faces by default; a request may override it.
        margin: fraction by which the square around each detected face is enlarged.
        limits: `Limits()` by default.
        metrics: counters shared with other processes; counters of this process only by default.
        origins: allowed CORS origins; "*" for all.
        heartbeat: a coroutine that runs from startup to shutdown.
    """
    limits = limits or Limits()
    metrics = metrics or Metrics(predictor.classes)
    bodies = Budget(limits.waiting_bytes, SMALL_BODY)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.batcher = Batcher(
            predictor, threads=threads, limits=limits, detect=detect, margin=margin, metrics=metrics
        )
        heartbeat_task = heartbeat and asyncio.ensure_future(heartbeat(app.state.batcher))
        try:
            yield
        finally:
            if heartbeat_task:
                heartbeat_task.cancel()
            await asyncio.to_thread(app.state.batcher.close)
            predictor.close()

    async def predict(scope: Any, receive: Receive) -> tuple[int, Headers, bytes]:
        return await _respond(handle_predict(scope, receive, app.state.batcher, limits, bodies), metrics)

    # FastAPI's documentation pages are disabled: they load scripts from a CDN.
    app = Service(title="feredge", version=feredge.__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.predict = predict
    _add_routes(app, predictor, metrics, detect=detect)
    if origins:
        return CORSMiddleware(
            app, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=["content-type"]
        )
    return app


async def _respond(prediction: Awaitable[bytes], metrics: Metrics) -> tuple[int, Headers, bytes]:
    """Await a prediction; return the response's status, headers and body, and count the request."""
    start = time.perf_counter()
    status, headers = 500, [(b"content-type", b"application/json")]
    try:
        body = await prediction
        status = 200
    except HTTPException as error:
        status, body = error.status_code, json.dumps({"error": error.detail}).encode()
        if status == 503:
            headers.append((b"retry-after", b"1"))
        headers += [(name.encode(), value.encode()) for name, value in (error.headers or {}).items()]
    except Exception as error:
        # One line, escaped: an error message may contain data of the client.
        UVICORN_LOGGER.error("POST /predict: %s", ascii(f"{type(error).__name__}: {error}"))
        body = b'{"error": "internal error"}'
    finally:
        metrics.request(status, time.perf_counter() - start)
    headers.append((b"content-length", b"%d" % len(body)))
    return status, headers, body


def _add_routes(app: Service, predictor: Predictor, metrics: Metrics, *, detect: bool) -> None:
    """Add the routes that FastAPI serves; `detect` is the default that the page begins with."""

    async def predict_route(request: Request) -> Response:
        """Classify the faces in the picture, or pictures, of the body."""
        status, headers, body = await app.predict(request.scope, request.receive)
        return Response(body, status, {name.decode(): value.decode() for name, value in headers})

    async def health() -> dict[str, Any]:
        """Return the service's status, and its model."""
        card = predictor.card
        return {
            "status": "ok",
            "version": feredge.__version__,
            "model": predictor.path.name,
            "variant": card.variant,
            "precision": card.precision,
            "classes": list(card.classes),
            "detect": detect,
        }

    async def metrics_text() -> PlainTextResponse:
        """Return all metrics in Prometheus' text format."""
        return PlainTextResponse(metrics.to_text(), media_type="text/plain; version=0.0.4")

    async def page() -> HTMLResponse:
        """Return the web page, which classifies a picture or the webcam."""
        return HTMLResponse(PAGE_PATH.read_text(encoding="utf-8"), headers=PAGE_HEADERS)

    # For the OpenAPI schema, and for a service mounted under a path.
    app.add_api_route("/predict", predict_route, methods=["POST"], response_class=Response)
    for path, route, response in (
        ("/health", health, None),
        ("/metrics", metrics_text, PlainTextResponse),
        ("/", page, HTMLResponse),
    ):
        options = {"response_class": response} if response else {}
        app.add_api_route(path, route, **options)
        app.add_api_route(path, route, methods=["HEAD"], include_in_schema=False, **options)  # type: ignore[arg-type]


PAGE_HEADERS = {
    # The page is self-contained, and connects to this service only.
    "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src blob: data:; media-src blob:; connect-src 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
