"""Pictures in JSON, HEAD and scripts of other origins."""

from __future__ import annotations

import http.client
import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import cv2
import pytest
from device_models import faces

PICTURE = cv2.imencode(".png", faces(1)[0])[1].tobytes()
TEXT = b64encode(PICTURE).decode()
JSON = {"content-type": "application/json; charset=utf-8"}
Serving = Callable[..., Any]


def test_base64_pictures(serving: Serving) -> None:
    """One picture and many are answered as the same bytes are; a bad one of many has its own error."""
    with serving() as service:

        def ask(value: Any) -> Any:
            return service.ask("POST", "/predict", json.dumps(value).encode(), JSON)

        plain = service.post(PICTURE)
        assert ask({"picture": TEXT}) == plain
        status, answer = ask({"pictures": [TEXT, b64encode(b"text").decode()]})
        assert (
            status == 200 and answer["pictures"][0] == plain[1] and "expected a PNG" in answer["pictures"][1]["error"]
        )


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "cannot be parsed"),
        (b"[" * 100_000, 400, "cannot be parsed"),
        (b"\xff", 400, "cannot be parsed"),
        (b"[]", 400, "other JSON"),
        (b'{"picture": "", "pictures": []}', 400, "other JSON"),
        (b'{"image": "AAAA"}', 400, "other JSON"),
        (b'{"picture": 1}', 400, "another type"),
        (b'{"pictures": "AAAA"}', 400, "another type"),
        (b'{"picture": "AA\\n=="}', 400, "other characters"),
        ('{"picture": "\u00e9"}'.encode(), 400, "other characters"),
        (b'{"pictures": []}', 400, "found 0"),
        (b'{"pictures": ["", "", ""]}', 413, "found 3"),
        (b'{"picture": ""}', 415, "expected a PNG"),
    ],
)
def test_bad_json(serving: Serving, body: bytes, status: int, words: str) -> None:
    """Each mistake has its own line."""
    from feredge.serve.limits import Limits

    with serving(limits=Limits(pictures=2)) as service:
        answer = service.ask("POST", "/predict", body, JSON)
        assert answer[0] == status and words in answer[1]["error"]


def raw(port: int, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/", "/health", "/openapi.json"])
def test_head_is_get_without_its_body(serving: Serving, path: str) -> None:
    """Monitors ask so (RFC 9110, section 9.3.2): status and headers are the same."""
    with serving() as service:
        get, head = (raw(service.port, method, path, {}) for method in ("GET", "HEAD"))
        assert head[0] == get[0] == 200 and get[2] and not head[2]
        for headers in (get[1], head[1]):
            headers.pop("date", None)
        assert head[1] == get[1]
        assert raw(service.port, "HEAD", "/metrics", {})[0] == 200


def test_other_origins_on_request(serving: Serving) -> None:
    """Without the option no page elsewhere may use the service; with it the named one may, and nobody else."""
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    allowed = "access-control-allow-origin"
    with serving() as service:
        assert allowed not in raw(service.port, "GET", "/health", {"Origin": "https://a.example"})[1]
        assert raw(service.port, "OPTIONS", "/predict", {"Origin": "https://a.example", **preflight})[0] == 405
    with serving(origins=["https://a.example"]) as service:
        answer = raw(service.port, "OPTIONS", "/predict", {"Origin": "https://a.example", **preflight})
        assert answer[0] == 200 and answer[1][allowed] == "https://a.example"
        assert allowed not in raw(service.port, "OPTIONS", "/predict", {"Origin": "https://b.example", **preflight})[1]
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        connection.request("POST", "/predict", PICTURE, {"Origin": "https://a.example"})
        assert connection.getresponse().headers[allowed] == "https://a.example"
        connection.close()
