"""The service: POST a picture or many, health, metrics, a page to try it.

    POST /predict          body: one picture file               -> {"faces": [...]}
    POST /predict          multipart/form-data, many files      -> {"pictures": [{"faces": [...]} or {"error": ...}]}
    POST /predict?face=1   each picture is one face; face=0 looks for faces
    GET  /health           the model and its classes
    GET  /metrics          Prometheus text
    GET  /                 the page

Answers: 413 for a request or picture that is too large, 415 for what is no picture file by its header, 422 for a
damaged picture, 400 for a broken request, 408 for one that comes too slowly, 503 when too many pictures wait.
No picture is stored or sent on.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response  # type: ignore[import-not-found]
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse  # type: ignore[import-not-found]
from starlette.exceptions import HTTPException  # type: ignore[import-not-found]
from starlette.requests import ClientDisconnect  # type: ignore[import-not-found]

import feredge
from feredge.errors import PictureError
from feredge.pictures import picture_size
from feredge.predictor import Predictor
from feredge.serve.batcher import Answer, Batcher, BusyError
from feredge.serve.metrics import Metrics

PAGE = Path(__file__).parent / "page.html"


@dataclass(frozen=True)
class Limits:
    """What one service takes.

    Attributes:
        bytes: of a request.
        pixels: of a picture, by its header.
        pictures: in a request.
        waiting: pictures accepted and not yet answered, over all requests.
        seconds: for a request's body to come in.
    """

    bytes: int = 10_000_000
    pixels: int = 25_000_000
    pictures: int = 64
    waiting: int = 256
    seconds: float = 30.0


class Service(FastAPI):  # type: ignore[misc]
    """FastAPI, but POST /predict goes straight to its answer.

    Routing, validation and injection would cost that request as much as the inference does.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, or run the application's life."""
        if scope["type"] == "http" and scope["path"] == "/predict" and scope["method"] == "POST":
            response = await self.state.predict(Request(scope, receive))
            await response(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(
    predictor: Predictor,
    *,
    threads: int = 1,
    find: bool = True,
    margin: float = 0.0,
    limits: Limits | None = None,
) -> FastAPI:
    """Return the service as an ASGI application; it closes the Predictor at its end.

    Args:
        predictor: what answers, best opened with one thread.
        threads: threads that answer side by side.
        find: look for faces, unless a request says otherwise.
        margin: share by which the square around each found face is enlarged.
        limits: `Limits()` unless given.
    """
    limits = limits or Limits()
    metrics = Metrics()

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        app.state.batcher = Batcher(
            predictor, threads=threads, waiting=limits.waiting, find=find, margin=margin, metrics=metrics
        )
        try:
            yield
        finally:
            await asyncio.to_thread(app.state.batcher.close)
            predictor.close()

    async def predict(request: Request) -> Response:
        """Name the expressions in the picture, or pictures, of the body."""
        began = time.perf_counter()
        try:
            answer = await _answer(request, app.state.batcher, limits)
            response = Response(json.dumps(answer), media_type="application/json")
        except HTTPException as error:
            headers = {"retry-after": "1"} if error.status_code == 503 else None
            response = JSONResponse({"error": error.detail}, error.status_code, headers)
        except Exception:
            metrics.request(500, time.perf_counter() - began)
            raise
        metrics.request(response.status_code, time.perf_counter() - began)
        return response

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
    app.state.predict = predict
    app.add_api_route("/predict", predict, methods=["POST"], response_class=JSONResponse)
    app.add_api_route("/health", health)
    app.add_api_route("/metrics", show_metrics, response_class=PlainTextResponse)
    app.add_api_route("/", page, response_class=HTMLResponse)
    return app


PAGE_HEADERS = {
    # Everything is inside the page, and it speaks to this service only.
    "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src blob: data:; media-src blob:; connect-src 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


async def _answer(request: Request, batcher: Batcher, limits: Limits) -> dict[str, Any]:
    """Return what a request is answered with; HTTPException says why not."""
    face = _flag(request.query_params.get("face"))
    content_type = request.headers.get("content-type", "")
    many = content_type.lower().startswith("multipart/form-data")
    try:
        async with asyncio.timeout(limits.seconds):
            body = await _body(request, limits)
    except TimeoutError as error:
        raise HTTPException(408, f"expected the whole request within {limits.seconds:g} seconds") from error
    except ClientDisconnect as error:
        raise HTTPException(400, "expected the whole request, the client left") from error
    pictures = split_form(content_type, body) if many else [body]
    if not 1 <= len(pictures) <= limits.pictures:
        raise HTTPException(413 if pictures else 400, f"expected 1 to {limits.pictures} files, found {len(pictures)}")
    bad = [_refusal(picture, limits) for picture in pictures]
    if not many and bad[0]:
        raise bad[0]
    try:
        good = [picture for picture, why in zip(pictures, bad, strict=True) if why is None]
        answers = iter(await batcher.answer(good, face=face))
    except BusyError as error:
        raise HTTPException(503, str(error)) from error
    if not many:
        answer = next(answers)
        if isinstance(answer, PictureError):
            raise HTTPException(422, str(answer))
        return _plain(answer)
    return {"pictures": [{"error": why.detail} if why else _plain(next(answers)) for why in bad]}


def _plain(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, PictureError):
        return {"error": str(answer)}
    return {"faces": [face.to_dict() for face in answer]}


def _flag(text: str | None) -> bool | None:
    if text is None:
        return None
    if text not in ("0", "1", "false", "true"):
        raise HTTPException(400, f"expected face=1 or face=0, found {text[:20]!r}")
    return text in ("1", "true")


def _refusal(picture: bytes, limits: Limits) -> HTTPException | None:
    """Say why a picture is not worth decoding, by its header alone."""
    size = picture_size(picture)
    if size is None:
        return HTTPException(415, "expected a PNG, JPEG, BMP, GIF, WebP, TIFF or PNM picture")
    if size[0] * size[1] > limits.pixels:
        return HTTPException(413, f"expected at most {limits.pixels:,} pixels, found {size[0]} x {size[1]}")
    return None


async def _body(request: Request, limits: Limits) -> bytes:
    """Return a request's body, and stop reading where it becomes too large."""
    too_large = HTTPException(413, f"expected at most {limits.bytes:,} bytes")
    said = request.headers.get("content-length", "0")
    if not said.isdigit() or int(said) > limits.bytes:
        raise too_large
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > limits.bytes:  # a body in chunks does not say its length before
            raise too_large
    if not size:
        raise HTTPException(400, "expected a picture as the request's body, found none")
    return b"".join(parts)


def split_form(content_type: str, body: bytes) -> list[bytes]:
    """Return the files in a `multipart/form-data` body (RFC 7578), in memory: libraries spool them to disk."""
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_boundary()
    if not boundary:
        raise HTTPException(400, "expected a boundary in the form's content type, found none")
    found = []
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))
    if not parts or not parts[-1].startswith(b"--"):
        raise HTTPException(400, "expected a whole form, found one without its end")
    for part in parts[:-1]:
        head, blank, data = part.partition(b"\r\n\r\n")
        if blank and b"filename" in head.lower():
            found.append(data)
    return found
