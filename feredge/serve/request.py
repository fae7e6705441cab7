"""A request to /predict: read within limits, checked before anything is decoded, answered in JSON.

Raw ASGI without Starlette's Request and Response, which would cost as much as the inference does.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException  # type: ignore[import-not-found]

from feredge.errors import PictureError
from feredge.pictures import picture_size
from feredge.serve.batcher import Answer, Batcher, BusyError

Receive = Callable[[], Awaitable[Any]]
TOO_SLOW = "the body came too slowly"


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


async def answer(scope: Any, receive: Receive, batcher: Batcher, limits: Limits) -> bytes:
    """Return the JSON that a request is answered with.

    Args:
        scope, receive: of the request, as ASGI gives them.
        batcher: what names the expressions.
        limits: of the service.

    Raises:
        HTTPException: why there is no answer.
    """
    face = _flag(scope["query_string"])
    kind, length = b"", b"0"
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = value
        elif name == b"content-type":
            kind = value
    body = await _body(receive, length, limits)
    if not kind.lower().startswith(b"multipart/form-data"):
        if why := _refusal(body, limits):
            raise why
        (found,) = await _ask(batcher, [body], face)
        if isinstance(found, PictureError):
            raise HTTPException(422, str(found))
        return _text(found).encode()
    pictures = split_form(kind.decode("latin-1"), body)
    if not 1 <= len(pictures) <= limits.pictures:
        raise HTTPException(413 if pictures else 400, f"expected 1 to {limits.pictures} files, found {len(pictures)}")
    bad = [_refusal(picture, limits) for picture in pictures]
    good = [picture for picture, why in zip(pictures, bad, strict=True) if why is None]
    answers = iter(await _ask(batcher, good, face))
    texts = [json.dumps({"error": why.detail}) if why else _text(next(answers)) for why in bad]
    return f'{{"pictures": [{", ".join(texts)}]}}'.encode()


async def _ask(batcher: Batcher, pictures: list[bytes], face: bool | None) -> list[Answer]:
    try:
        return await batcher.answer(pictures, face=face)
    except BusyError as error:
        raise HTTPException(503, str(error)) from error


def _text(answer: Answer) -> str:
    """Return a picture's answer as json.dumps writes it, in half the time: of a float both write its repr."""
    if isinstance(answer, PictureError):
        return json.dumps({"error": str(answer)})
    faces = [
        _template(face.classes)
        % (_quoted(face.label), face.confidence, *face.scores, "null" if face.box is None else list(face.box))
        for face in answer
    ]
    return f'{{"faces": [{", ".join(faces)}]}}'


_quoted = cache(json.dumps)


@cache
def _template(classes: tuple[str, ...]) -> str:
    scores = ", ".join(_quoted(name).replace("%", "%%") + ": %r" for name in classes)
    return f'{{"label": %s, "confidence": %r, "probabilities": {{{scores}}}, "box": %s}}'


def _flag(query: bytes) -> bool | None:
    """Return what `face=` says in a query string."""
    if not query or (text := dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get("face")) is None:
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


async def _body(receive: Receive, said: bytes, limits: Limits) -> bytes:
    """Return a request's body, and stop reading where it becomes too large or too slow."""
    too_large = f"expected at most {limits.bytes:,} bytes"
    if not said.isdigit() or int(said) > limits.bytes:
        raise HTTPException(413, too_large)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    # asyncio.timeout does the same, in four times the time
    alarm = loop.call_later(limits.seconds, task.cancel, TOO_SLOW)
    parts, size, more = [], 0, True
    try:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise HTTPException(400, "expected the whole request, the client left")
            parts.append(message["body"])
            size += len(parts[-1])
            more = message["more_body"]
            if size > limits.bytes:  # a body in chunks does not say its length before
                raise HTTPException(413, too_large)
    except asyncio.CancelledError as error:
        if error.args != (TOO_SLOW,):
            raise
        task.uncancel()
        raise HTTPException(408, f"expected the whole request within {limits.seconds:g} seconds") from error
    finally:
        alarm.cancel()
    if not size:
        raise HTTPException(400, "expected a picture as the request's body, found none")
    return b"".join(parts)


_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]+)"|([^\s;"]+))', re.IGNORECASE)


def split_form(content_type: str, body: bytes) -> list[bytes]:
    """Return the files in a `multipart/form-data` body (RFC 7578), in memory: libraries spool them to disk."""
    said = _BOUNDARY.search(content_type)
    if said is None:
        raise HTTPException(400, "expected a boundary in the form's content type, found none")
    found = []
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + (said[1] or said[2]).encode("latin-1"))
    if not parts or not parts[-1].startswith(b"--"):
        raise HTTPException(400, "expected a whole form, found one without its end")
    for part in parts[:-1]:
        head, blank, data = part.partition(b"\r\n\r\n")
        if blank and b"filename" in head.lower():
            found.append(data)
    return found
