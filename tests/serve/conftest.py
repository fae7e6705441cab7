"""A service on a free port, in a thread of this process."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from feredge import Predictor


class Service:
    """Its port, and one request."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Return the status, and the answer: JSON where it is, else text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {}, encode_chunked=not isinstance(body, bytes | None))
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if "json" in answer.headers["content-type"] else text
        finally:
            connection.close()

    def post(self, picture: bytes, query: str = "") -> tuple[int, Any]:
        """Post one picture."""
        return self.ask("POST", f"/predict{query}", picture)

    def post_many(self, *pictures: bytes) -> tuple[int, Any]:
        """Post a form of pictures, as `curl -F` does."""
        parts = [
            b'--xyz\r\nContent-Disposition: form-data; name="p"; filename="%d.png"\r\n\r\n%b\r\n' % (number, picture)
            for number, picture in enumerate(pictures)
        ]
        body = b"".join(parts) + b"--xyz--\r\n"
        return self.ask("POST", "/predict", body, {"content-type": "multipart/form-data; boundary=xyz"})


@pytest.fixture
def serving(small_onnx: Path) -> Callable[..., Any]:
    """Return what opens a service with the smallest model, as a context manager."""
    uvicorn = pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
    pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
    from feredge.serve.app import create_app
    from feredge.serve.connections import ConnectionGuard, server_config
    from feredge.serve.limits import Limits

    @contextmanager
    def serve(
        predictor: Predictor | None = None, proxy: str | None = None, send_buffer: int = 0, **options: Any
    ) -> Iterator[Service]:
        app = create_app(predictor or Predictor(small_onnx, threads=1), **{"threads": 2, "detect": False, **options})
        listener = socket.socket()
        if send_buffer:  # bytes, which accepted connections inherit
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        listener.bind(("127.0.0.1", 0))
        guard = ConnectionGuard(options.get("limits") or Limits(), proxy=proxy)
        server = uvicorn.Server(server_config(app, guard, 30))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield Service(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
            listener.close()

    return serve
