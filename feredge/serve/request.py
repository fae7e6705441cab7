"""A request to /predict: read within limits, checked before anything is decoded, answered in JSON.

Raw ASGI without Starlette's Request and Response, which would cost as much as the inference does.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException  # type: ignore[import-not-found]

from feredge.errors import PictureError
from feredge.inference.face import PictureResult
from feredge.inference.pictures import picture_size
from feredge.serve.batcher import Batcher, BusyError
from feredge.serve.limits import SMALL_BODY, Budget, Limits

Receive = Callable[[], Awaitable[Any]]
TOO_SLOW = "the body came too slowly"
HANG_UP = {"connection": "close"}  # the rest of the body is not read


async def answer(scope: Any, receive: Receive, batcher: Batcher, limits: Limits, bodies: Budget) -> bytes:
    """Return the JSON that a request is answered with.

    Args:
        scope, receive: of the request, as ASGI gives them.
        batcher: what names the expressions.
        limits: of the service.
        bodies: bytes of all bodies that are not yet answered.

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
    holding = Holding(bodies)
    try:
        body = await _body(receive, length, limits, holding)
        single, pictures = _pictures(kind, body, limits)
        del body
        return await _answer_pictures(pictures, single, face, batcher, limits)
    finally:
        holding.release()


def _pictures(kind: bytes, body: bytes, limits: Limits) -> tuple[bool, list[bytes]]:
    """Return whether a body is one picture, and its pictures: the body itself, a form's files or those in JSON."""
    media = kind.partition(b";")[0].strip().lower()
    if media == b"multipart/form-data":
        single, pictures = False, form_files(kind, body, limits.pictures)
    elif media == b"application/json":
        single, pictures = json_pictures(body, limits.pictures)
    else:
        return True, [body]
    if not 1 <= len(pictures) <= limits.pictures:
        raise HTTPException(
            413 if pictures else 400, f"expected 1 to {limits.pictures} pictures, found {len(pictures)}"
        )
    return single, pictures


async def _answer_pictures(
    pictures: list[bytes], single: bool, face: bool | None, batcher: Batcher, limits: Limits
) -> bytes:
    checked = [_pixels(picture, limits) for picture in pictures]
    if single and isinstance(checked[0], HTTPException):
        raise checked[0]
    sizes = [one for one in checked if isinstance(one, int)]
    if sum(sizes) > limits.request_pixels:
        raise HTTPException(413, f"expected at most {limits.request_pixels:,} pixels, found {sum(sizes):,}")
    good = [picture for picture, one in zip(pictures, checked, strict=True) if isinstance(one, int)]
    try:
        answers = await batcher.answer(good, sizes, face=face)
    except BusyError as error:
        raise HTTPException(503, str(error)) from error
    if single:
        if isinstance(answers[0], PictureError):
            raise HTTPException(422, str(answers[0]))
        return _text(answers[0]).encode()
    remaining = iter(answers)
    texts = [_text(next(remaining)) if isinstance(one, int) else json.dumps({"error": one.detail}) for one in checked]
    return f'{{"pictures": [{", ".join(texts)}]}}'.encode()


class Holding:
    """The bytes of one request's body within the budget of all.

    The first SMALL_BODY bytes are not counted: the limit of connections bounds them, and ordinary requests need no
    room that others could take from them.
    """

    def __init__(self, bodies: Budget) -> None:
        self._bodies = bodies
        self._counted = 0

    def grow(self, size: int) -> bool:
        """Reserve room for a body of `size` bytes so far; False where there is none."""
        if size <= SMALL_BODY:
            return True
        more = size - SMALL_BODY - self._counted
        if not self._bodies.take(more, size):
            return False
        self._counted += more
        return True

    def release(self) -> None:
        """Give the room back."""
        self._bodies.release(self._counted)


def _text(answer: PictureResult) -> str:
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


def _pixels(picture: bytes, limits: Limits) -> int | HTTPException:
    """Return a picture's pixels by its header alone, or why it is not worth decoding."""
    size = picture_size(picture)
    if size is None:
        return HTTPException(415, "expected a PNG, JPEG, BMP, GIF, WebP, TIFF or PNM picture")
    pixels = size[0] * size[1]
    if pixels > limits.pixels:
        return HTTPException(413, f"expected at most {limits.pixels:,} pixels, found {size[0]} x {size[1]}")
    return pixels


async def _body(receive: Receive, said: bytes, limits: Limits, holding: Holding) -> bytes:
    """Return a request's body, and stop reading where it becomes too large or too slow."""
    too_large = f"expected at most {limits.bytes:,} bytes"
    if not said.isdigit() or len(said) > 18 or int(said) > limits.bytes:
        raise HTTPException(413, too_large, HANG_UP)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    # asyncio.timeout does the same, in four times the time
    alarm = loop.call_later(limits.body_seconds, task.cancel, TOO_SLOW)
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
                raise HTTPException(413, too_large, HANG_UP)
            if not holding.grow(size):
                raise HTTPException(503, "expected fewer bytes at once; try again later", HANG_UP)
    except asyncio.CancelledError as error:
        if error.args != (TOO_SLOW,):
            raise
        task.uncancel()
        raise HTTPException(
            408, f"expected the whole request within {limits.body_seconds:g} seconds", HANG_UP
        ) from error
    finally:
        alarm.cancel()
    if not size:
        raise HTTPException(400, "expected a picture as the request's body, found none")
    return b"".join(parts)


def form_files(content_type: bytes, body: bytes, most: int) -> list[bytes]:
    """Return the files of a `multipart/form-data` body (RFC 7578); text fields are passed over.

    The parser of python-multipart without its FormParser, which spools files to disk.

    Args:
        content_type: the request's, with the boundary.
        body: whole.
        most: files to read; one more is returned so that a caller sees that there are too many.

    Raises:
        HTTPException: 400 for a body that is no whole form.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise HTTPException(400, "expected a boundary in the form's content type, found none")
    files: list[bytes] = []
    header, value, disposition, data = bytearray(), bytearray(), bytearray(), bytearray()
    ended = False

    def end_header() -> None:
        if bytes(header).lower() == b"content-disposition":
            disposition[:] = value
        header.clear()
        value.clear()

    def end_part() -> None:
        kind, options = parse_options_header(bytes(disposition))
        if kind == b"form-data" and b"filename" in options:
            if len(files) > most:
                raise FormParserError
            files.append(bytes(data))
        disposition.clear()
        data.clear()

    def end() -> None:
        nonlocal ended
        ended = True

    try:
        parser = MultipartParser(
            boundary,
            {
                "on_header_field": lambda part, start, stop: header.extend(part[start:stop]),
                "on_header_value": lambda part, start, stop: value.extend(part[start:stop]),
                "on_header_end": end_header,
                "on_part_data": lambda part, start, stop: data.extend(memoryview(part)[start:stop]),
                "on_part_end": end_part,
                "on_end": end,
            },
        )
        parser.write(body)
    except FormParserError as error:
        if len(files) > most:
            return files
        raise HTTPException(400, "expected a form by RFC 7578, found a broken one") from error
    if not ended:
        raise HTTPException(400, "expected a whole form, found one without its end")
    return files


def json_pictures(body: bytes, most: int) -> tuple[bool, list[bytes]]:
    """Return whether JSON holds one picture, and its pictures: `{"picture": BASE64}` or `{"pictures": [BASE64, ...]}`.

    Raises:
        HTTPException: 400 for other JSON, or text that is no base64 (RFC 4648, section 4); 413 for over `most`.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "expected JSON, found a body that cannot be parsed") from error
    if not isinstance(value, dict) or len(value) != 1 or not value.keys() <= {"picture", "pictures"}:
        raise HTTPException(400, 'expected {"picture": BASE64} or {"pictures": [BASE64, ...]}, found other JSON')
    single = "picture" in value
    texts = [value["picture"]] if single else value["pictures"]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise HTTPException(400, "expected base64 text for each picture, found another type")
    if len(texts) > most:
        raise HTTPException(413, f"expected 1 to {most} pictures, found {len(texts)}")
    try:
        return single, [b64decode(text, validate=True) for text in texts]
    except ValueError as error:
        raise HTTPException(400, "expected base64 text for each picture, found other signs in it") from error
