"""The service: POST a picture or many, health, metrics, a page to try it.

    POST /predict          body: one picture file               -> {"faces": [...]}
    POST /predict          multipart/form-data, many files      -> {"pictures": [{"faces": [...]} or {"error": ...}]}
    POST /predict          application/json {"picture": BASE64} -> {"faces": [...]}
    POST /predict          application/json {"pictures": [BASE64, ...]} -> {"pictures": [...]}
    POST /predict?face=1   each picture is one face; face=0 looks for faces
    GET  /health           the model and its classes
    GET  /metrics          Prometheus text
    GET  /                 the page

HEAD is answered where GET is.

Answers: 413 for a request or picture that is too large, 415 for what is no picture file by its header, 422 for a
damaged picture, 400 for a broken request, 408 for one that comes too slowly, 431 for headers that are too large,
503 when too much is under way.
No picture is stored or sent on.
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
from feredge.serve.request import Receive, answer

LOG = logging.getLogger("uvicorn.error")  # which uvicorn sends to stderr
PAGE = Path(__file__).parent / "page.html"

Headers = list[tuple[bytes, bytes]]
Predict = Callable[[Any, Receive], Awaitable[tuple[int, Headers, bytes]]]


class Service(FastAPI):  # type: ignore[misc]
    """FastAPI, but POST /predict goes straight to its answer.

    Routing, validation and injection would cost that request as much as the inference does.
    """

    predict: Predict

    async def __call__(self, scope: Any, receive: Receive, send: Any) -> None:
        """Answer one request, or run the application's life."""
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
    """Return the service as an ASGI application; it closes the Predictor at its end.

    Args:
        predictor: what answers, best opened with one thread.
        threads: threads that answer side by side.
        find: look for faces, unless a request says otherwise.
        margin: share by which the square around each found face is enlarged.
        limits: `Limits()` unless given.
        metrics: where this process counts, beside others; counters of its own unless given.
        origins: of pages elsewhere whose scripts may use the service (CORS); "*" for all.
        heartbeat: runs beside the service, from its start to its end.
    """
    limits = limits or Limits()
    metrics = metrics or Metrics(predictor.classes)
    bodies = Budget(limits.waiting_bytes, SMALL_BODY)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        app.state.batcher = Batcher(
            predictor, threads=threads, limits=limits, detect=detect, margin=margin, metrics=metrics
        )
        beating = heartbeat and asyncio.ensure_future(heartbeat(app.state.batcher))
        try:
            yield
        finally:
            if beating:
                beating.cancel()
            await asyncio.to_thread(app.state.batcher.close)
            predictor.close()

    async def predict(scope: Any, receive: Receive) -> tuple[int, Headers, bytes]:
        """Return a request's status, headers and body, and count it."""
        began = time.perf_counter()
        status, headers = 500, [(b"content-type", b"application/json")]
        try:
            body = await answer(scope, receive, app.state.batcher, limits, bodies)
            status = 200
        except HTTPException as error:
            status, body = error.status_code, json.dumps({"error": error.detail}).encode()
            if status == 503:
                headers.append((b"retry-after", b"1"))
            headers += [(name.encode(), value.encode()) for name, value in (error.headers or {}).items()]
        except Exception as error:
            # One line, escaped: what an error says may hold what a client sent.
            LOG.error("POST /predict: %s", ascii(f"{type(error).__name__}: {error}"))
            body = b'{"error": "internal error"}'
        finally:
            metrics.request(status, time.perf_counter() - began)
        headers.append((b"content-length", b"%d" % len(body)))
        return status, headers, body

    async def routed(request: Request) -> Response:
        """Name the expressions in the picture, or pictures, of the body."""
        status, headers, body = await predict(request.scope, request.receive)
        return Response(body, status, {name.decode(): value.decode() for name, value in headers})

    async def health() -> dict[str, Any]:
        """Say that the service is there, and with which network."""
        card = predictor.card
        return {
            "status": "ok",
            "version": feredge.__version__,
            "model": predictor.path.name,
            "variant": card.variant,
            "precision": card.precision,
            "classes": list(card.classes),
        }

    async def show_metrics() -> PlainTextResponse:
        """Give every counter in Prometheus' text format."""
        return PlainTextResponse(metrics.to_text(), media_type="text/plain; version=0.0.4")

    async def page() -> HTMLResponse:
        """Give the page to try a picture or the webcam."""
        return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers=PAGE_HEADERS)

    # FastAPI's own pages of documentation would load their scripts from elsewhere.
    app = Service(title="feredge", version=feredge.__version__, lifespan=life, docs_url=None, redoc_url=None)
    app.predict = predict
    # For the schema, and where the service is mounted below another path.
    app.add_api_route("/predict", routed, methods=["POST"], response_class=Response)
    for path, route, response in (
        ("/health", health, None),
        ("/metrics", show_metrics, PlainTextResponse),
        ("/", page, HTMLResponse),
    ):
        options = {"response_class": response} if response else {}
        app.add_api_route(path, route, **options)
        app.add_api_route(path, route, methods=["HEAD"], include_in_schema=False, **options)  # type: ignore[arg-type]
    if origins:
        return CORSMiddleware(
            app, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=["content-type"]
        )
    return app


PAGE_HEADERS = {
    # Everything is inside the page, and it speaks to this service only.
    "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src blob: data:; media-src blob:; connect-src 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
