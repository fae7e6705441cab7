"""Fuzz targets: images, and HTTP requests of the service."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import logging
from pathlib import Path
from typing import Any

from feredge.errors import FeredgeError
from fuzzing.target import Corpus, Run, raise_last_refusal

HTTP_BOUNDARY = "xyz"


def image_corpus(_: Path) -> Corpus:
    """Return images of every format that is read: gray, in colour and with alpha, and of 16 bits."""
    import cv2
    import numpy as np
    from device_models import faces

    pictures = {}
    for number, picture in enumerate([*faces(3), *faces(3, channels=3), *faces(1, channels=4)]):
        # OpenCV writes no gray GIF, and of portable maps gray ones as .pgm and BGR ones as .ppm only
        suffixes = {2: (".pgm",), 3: (".gif", ".ppm", ".avif") if picture.shape[-1] == 3 else (".gif",)}[picture.ndim]
        for kind in (".png", ".jpg", ".bmp", ".webp", ".tiff", *suffixes):
            pictures[f"{number}{kind}"] = cv2.imencode(kind, picture)[1].tobytes()
    deep = faces(1)[0].astype(np.uint16) * 257
    for kind in (".png", ".pgm", ".tiff"):
        pictures[f"deep{kind}"] = cv2.imencode(kind, deep)[1].tobytes()
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif  # type: ignore[import-not-found,import-untyped,unused-ignore]
        from PIL import Image

        pillow_heif.register_heif_opener()
        buffer = io.BytesIO()
        Image.fromarray(faces(1, channels=3)[0]).save(buffer, "HEIF")
        pictures["0.heic"] = buffer.getvalue()
    return pictures


def prepare_images(folder: Path) -> Run:
    """Classify the face in an image, and detect faces in it."""
    from device_models import card, write_onnx

    from feredge import Predictor

    predictor = Predictor(write_onnx(folder / "seed.onnx", with_card=card()), threads=1)

    def run(_: Path, data: bytes) -> None:
        raise_last_refusal(lambda: predictor(data), lambda: predictor.frame(data))

    return run


def http_corpus(folder: Path) -> Corpus:
    """Return requests of every content type: a line of headers in JSON, then the body."""
    from base64 import b64encode

    pictures = [data for name, data in image_corpus(folder).items() if name in ("0.png", "3.jpg", "1.webp", "4.gif")]
    parts = [
        b'--%b\r\nContent-Disposition: form-data; name="p"; filename="%d.png"\r\nContent-Type: image/png\r\n\r\n%b\r\n'
        % (HTTP_BOUNDARY.encode(), number, picture)
        for number, picture in enumerate(pictures)
    ]
    form = b"".join(parts) + f"--{HTTP_BOUNDARY}--\r\n".encode()
    texts = [b64encode(picture).decode() for picture in pictures]
    requests = {
        "raw": ("image/png", pictures[0]),
        "form": (f"multipart/form-data; boundary={HTTP_BOUNDARY}", form),
        "one": ("application/json", json.dumps({"picture": texts[0]}).encode()),
        "many": ("application/json", json.dumps({"pictures": texts}).encode()),
    }
    return {
        f"{name}.http": json.dumps({"type": kind, "query": "face=1"}).encode() + b"\n" + body
        for name, (kind, body) in requests.items()
    }


def prepare_service(folder: Path) -> Run:
    """Handle a request in the service's ASGI application; an internal error is raised."""
    from device_models import card, write_onnx

    from feredge import Predictor
    from feredge.serve.app import UVICORN_LOGGER, create_app

    class LastMessage(logging.Handler):
        text = ""

        def emit(self, record: logging.LogRecord) -> None:
            self.text = record.getMessage()

    last_message = LastMessage()
    UVICORN_LOGGER.addHandler(last_message)
    app = create_app(Predictor(write_onnx(folder / "seed.onnx", with_card=card()), threads=1), threads=1)
    runner = asyncio.Runner()
    lifespan = app.router.lifespan_context(app)
    runner.run(lifespan.__aenter__())
    app.state.lifespan = lifespan  # the service closes when it is collected

    async def post(headers: Any, body: bytes) -> tuple[int, bytes]:
        chunks = [body[: len(body) // 2], body[len(body) // 2 :]]
        messages: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            messages.append(message)

        values = headers if isinstance(headers, dict) else {}
        kind, query = (str(values.get(name, "")).encode("latin-1", "replace") for name in ("type", "query"))
        lines = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        scope = {"type": "http", "path": "/predict", "method": "POST", "query_string": query, "headers": lines}
        await app(scope, receive, send)
        return messages[0]["status"], b"".join(message.get("body", b"") for message in messages)

    def run(path: Path, data: bytes) -> None:
        head, _, body = data.partition(b"\n")
        status, response = runner.run(post(json.loads(head), body))
        value = json.loads(response)
        if status == 500:
            raise RuntimeError(last_message.text)
        if status != 200:
            raise FeredgeError(value["error"])

    return run
