"""Connections of hostile clients: each ends within its limits, and ordinary clients are answered meanwhile."""

from __future__ import annotations

import gc
import socket
import threading
import time
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import cv2
import numpy as np
import pytest
from device_models import faces

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

from feredge import Predictor
from feredge.serve.connections import AddressCounts
from feredge.serve.limits import ADDRESS_SLOTS, Limits

Serving = Callable[..., Any]
PICTURE = cv2.imencode(".png", faces(1)[0])[1].tobytes()
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n"


def connect(port: int, address: str = "127.0.0.1") -> socket.socket:
    """Connect from one of this machine's addresses; Linux has all of 127.0.0.0/8."""
    try:
        return socket.create_connection(("127.0.0.1", port), 20, source_address=(address, 0))
    except OSError:
        if address == "127.0.0.1":
            raise
        pytest.skip(f"this system has no address {address}")


def rest(connection: socket.socket) -> bytes:
    """Return all that still comes, until the service hangs up."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def status(port: int, address: str = "127.0.0.1", headers: bytes = b"") -> int:
    """Return the status of one request for /health; 0 where the service hung up."""
    with connect(port, address) as one:
        one.sendall(HEALTH + headers + b"Connection: close\r\n\r\n")
        return int(rest(one)[9:12] or 0)


def test_endless_headers_are_431(serving: Serving) -> None:
    """Neither many headers nor one without an end are held beyond the limit."""
    with serving(limits=Limits(header_bytes=10_000)) as service:
        for part in (b"a: b\r\n" * 100, b"c: " + b"d" * 597, b""):
            with connect(service.port) as one:
                sent = 0
                try:
                    one.sendall(b"GET /" if not part else HEALTH)
                    while sent < 5_000_000:
                        sent += one.send(part or b"e" * 600)
                        time.sleep(0.001)
                except OSError:
                    pass
                answer = rest(one)
                assert sent < 1_000_000 and (answer[9:12] == b"431" or not answer)  # a reset may take the answer
        with connect(service.port) as one:  # in one piece, with their end
            one.sendall(HEALTH + b"a: " + b"b" * 11_000 + b"\r\n\r\n")
            assert rest(one)[9:12] == b"431"
        assert status(service.port, headers=b"a: " + b"b" * 9_000 + b"\r\n") == 200


def test_pipelined_bodies_are_no_headers(serving: Serving) -> None:
    """Guards against counting a body, or what follows it, as headers: large requests in one piece are answered."""
    body = PICTURE + b"\0" * 30_000
    request = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with serving(limits=Limits(header_bytes=10_000)) as service, connect(service.port) as one:
        one.sendall(request * 3 + HEALTH + b"Connection: close\r\n\r\n")
        assert rest(one).count(b"HTTP/1.1 200") == 4


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"", b""),
        (HEALTH, b"408"),
        (b"POST /predict HTTP/1.1\r\n", b"408"),
        (HEALTH + b"\r\n", b"200"),
        (HEALTH + b"\r\n\r\n", b"200"),
    ],
    ids=["nothing", "half headers", "one line", "idle after an answer", "a line end after an answer"],
)
def test_idle_connections_end(serving: Serving, sent: bytes, expected: bytes) -> None:
    """Whoever sends nothing, half a request or nothing more is closed in time, with 408 where a request had begun."""
    with serving(limits=Limits(header_seconds=1, keep_alive_seconds=1)) as service, connect(service.port) as one:
        began = time.monotonic()
        one.sendall(sent)
        answer = rest(one)
        assert answer[9:12] == expected and 0.9 < time.monotonic() - began < 15


def test_trickled_headers_end(serving: Serving) -> None:
    """A byte now and then does not renew the time (the attack called Slowloris)."""
    with serving(limits=Limits(header_seconds=1)) as service, connect(service.port) as one:
        one.sendall(HEALTH)
        end = time.monotonic() + 20
        with pytest.raises(OSError):
            while time.monotonic() < end:
                one.sendall(b"a: b\r\n")
                time.sleep(0.1)


def test_a_client_that_reads_nothing_ends(serving: Serving) -> None:
    """Requests whose answers nobody takes must not stay under way."""
    with serving(limits=Limits(body_seconds=1), send_buffer=4096) as service, socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", service.port))
        one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 60)
        time.sleep(4)
        one.settimeout(20)
        assert rest(one).count(b"HTTP/1.1 200") < 60
        assert status(service.port) == 200


def test_requests_without_end_on_one_connection(serving: Serving) -> None:
    """Requests that are sent without waiting for answers must not pile up in memory."""
    with serving() as service, connect(service.port) as one:
        with suppress(OSError):
            one.sendall((HEALTH + b"\r\n") * 20_000)
        assert rest(one).count(b"HTTP/1.1 200") < 20_000
        assert status(service.port) == 200


def test_the_longest_idle_connection_makes_room(serving: Serving) -> None:
    """Idle connections beyond the limit never shut out one that asks."""
    with serving(limits=Limits(connections=20, header_seconds=60)) as service, ExitStack() as stack:
        idle = [stack.enter_context(connect(service.port)) for _ in range(60)]
        for one in idle[-20:]:
            one.sendall(HEALTH)
        assert [status(service.port) for _ in range(30)] == [200] * 30
        assert rest(idle[0]) == b""


def test_connections_of_one_address(serving: Serving) -> None:
    """One address holds no more than its number; another is answered, and the first again after it hung up."""
    with serving(limits=Limits(connections_per_address=3)) as service:
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(connect(service.port)).sendall(HEALTH)
            time.sleep(0.3)
            assert status(service.port) in (503, 0)  # closing may overtake the answer
            assert status(service.port, "127.0.0.2") == 200
        end = time.monotonic() + 10
        while (found := status(service.port)) != 200 and time.monotonic() < end:
            time.sleep(0.1)
        assert found == 200


def slow_post(port: int, address: str, forwarded: bytes) -> socket.socket:
    one = connect(port, address)
    one.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %b\r\nContent-Length: 9\r\n\r\n1" % forwarded)
    return one


def test_forwarded_addresses_of_the_proxy_only(serving: Serving) -> None:
    """The named proxy's clients are counted apart; from anybody else the header is a mere claim."""
    limits = Limits(connections_per_address=2)
    with serving(limits=limits, proxy="127.0.0.2") as service, ExitStack() as stack:
        for claim in (b"192.0.2.1", b"203.0.113.9, 192.0.2.1"):
            stack.enter_context(slow_post(service.port, "127.0.0.2", claim))
        for claim in (b"192.0.2.7", b"192.0.2.8"):
            stack.enter_context(slow_post(service.port, "127.0.0.1", claim))
        time.sleep(0.3)
        proxied = {
            name: status(service.port, "127.0.0.2", b"X-Forwarded-For: " + name + b"\r\n")
            for name in (b"192.0.2.1", b"9.9.9.9, 192.0.2.1", b"192.0.2.1, 192.0.2.2")
        }
        assert proxied == {b"192.0.2.1": 503, b"9.9.9.9, 192.0.2.1": 503, b"192.0.2.1, 192.0.2.2": 200}
        assert status(service.port, "127.0.0.1", b"X-Forwarded-For: 192.0.2.9\r\n") in (503, 0)


def test_addresses_are_counted_over_processes() -> None:
    """Two rows are one count; a process that starts anew holds none."""
    rows = array("H", bytes(2 * 2 * ADDRESS_SLOTS))
    first, second = (AddressCounts(b"key", rows, row) for row in range(2))
    assert first.add("192.0.2.1", 2) and second.add("192.0.2.1", 2)
    assert not first.add("192.0.2.1", 2) and first.add("192.0.2.2", 2)
    second = AddressCounts(b"key", rows, 1)
    assert second.add("192.0.2.1", 2)
    second.remove("192.0.2.1")
    assert first.add("192.0.2.1", 2)
    assert first.add("2001:db8::1", 1) and not first.add("2001:db8::2", 1) and first.add("2001:db8:1::1", 1)
    assert first.add("::ffff:192.0.2.8", 1) and first.add("::ffff:192.0.2.9", 1)


def test_unfinished_bodies_share_a_budget(serving: Serving) -> None:
    """Large bodies beyond it are 503; small requests are answered, and large ones again once the others left."""
    large = PICTURE + b"\0" * 900_000
    limits = Limits(bytes=1_000_000, waiting_bytes=4_000_000)
    with serving(limits=limits) as service:
        with ExitStack() as stack:
            for _ in range(3):
                one = stack.enter_context(connect(service.port))
                one.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 999_999)
            time.sleep(0.5)
            with suppress(BrokenPipeError, ConnectionResetError):  # the service hangs up while the rest is sent
                assert service.post(large)[0] == 503
            assert service.post(PICTURE)[0] == 200
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with suppress(BrokenPipeError, ConnectionResetError):
                if service.post(large)[0] == 200:
                    return
            time.sleep(0.1)
        raise AssertionError("expected room after the others had left")


def constant(side: int) -> bytes:
    return cv2.imencode(".png", np.full((side, side), 90, np.uint8))[1].tobytes()


def test_pixels_of_a_request(serving: Serving) -> None:
    """Many pictures that are small in bytes and large in pixels are refused before any is decoded."""
    with serving(limits=Limits(request_pixels=4_000_000)) as service:
        assert service.post_many(*[constant(1500)] * 2)[0] == 413
        assert service.post_many(constant(1500), constant(1000))[0] == 200


def test_large_pictures_do_not_hold_up_small_ones(serving: Serving, small_onnx: Any) -> None:
    """While large pictures are stuck, small ones are answered; large ones beyond the budget are 503."""
    gate = threading.Event()

    class SlowOnLarge(Predictor):
        def classify(self, pictures: Any, **options: Any) -> Any:
            if len(pictures[0]) == len(large):
                assert gate.wait(60)
            return super().classify(pictures, **options)

    large = constant(1500)
    limits = Limits(waiting_pixels=7_000_000)
    with (
        serving(SlowOnLarge(small_onnx, threads=1), limits=limits, threads=1) as service,
        ThreadPoolExecutor(2) as pool,
    ):
        stuck = [pool.submit(service.post, large) for _ in range(2)]
        end = time.monotonic() + 30
        while "feredge_pictures_waiting 2.0" not in service.ask("GET", "/metrics")[1] and time.monotonic() < end:
            time.sleep(0.01)
        assert service.post(large)[0] == 503
        assert [service.post(PICTURE)[0] for _ in range(5)] == [200] * 5
        gate.set()
        assert [one.result()[0] for one in stuck] == [200] * 2
        assert service.post(large)[0] == 200


def test_log_lines_are_escaped(serving: Serving, small_onnx: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """An error that repeats what a client sent is one line without control characters."""

    class Repeating(Predictor):
        def classify(self, pictures: Any, **options: Any) -> Any:
            raise RuntimeError(pictures[0].decode("latin-1"))

    picture = b"GIF89a\1\0\1\0\x1b[2Jforged\r\nERROR: line"
    with serving(Repeating(small_onnx, threads=1)) as service:
        assert service.post(picture) == (500, {"error": "internal error"})
        assert service.post_many(*[picture] * 3)[0] == 500
    gc.collect()  # asyncio speaks of errors that nobody took when their futures are collected
    lines = [line for line in capfd.readouterr().err.splitlines() if "forged" in line]
    assert len(lines) == 2 and "\\x1b[2Jforged\\r\\nERROR" in lines[0] and "\x1b[2J" not in lines[0]
