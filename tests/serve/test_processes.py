"""One service of two processes, as its clients and its operator see it."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
from device_models import faces

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

from feredge.errors import RunError
from feredge.inference.face import Face
from feredge.serve.limits import Limits, service_limits
from feredge.serve.metrics import Metrics
from feredge.serve.processes import ServiceConfig, Watchdog

PICTURE = cv2.imencode(".png", faces(1)[0])[1].tobytes()


@contextmanager
def command(model: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run `feredge serve` on a free port; give its process and the port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "feredge", "serve", "--cropped", "--model", str(model), "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stderr.readline()  # type: ignore[union-attr]  # a pipe
        yield process, int(re.search(r"127\.0\.0\.1:(\d+)", line)[1])  # type: ignore[index]  # a match
    finally:
        process.kill()
        process.wait()
        process.stderr.close()  # type: ignore[union-attr]  # a pipe


def ask(port: int, path: str, body: bytes | None = None) -> tuple[int, str]:
    """Ask over a connection of its own, so that any process may answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST" if body else "GET", path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def children(parent: int) -> set[int]:
    """Return the processes of a service, which open the model; multiprocessing has one of its own beside them."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=", "-o", "args=", "--ppid", str(parent)], capture_output=True, text=True
    )
    return {int(line.split()[0]) for line in listed.stdout.splitlines() if "spawn_main" in line}


def wait_for_children(parent: int, count: int, *, besides: int) -> None:
    """Wait until a service has so many processes besides one that was killed: it says so before it starts another."""
    end = time.monotonic() + 30
    while len(found := children(parent) - {besides}) != count:
        assert time.monotonic() < end, f"expected {count} processes, found {found}"
        time.sleep(0.05)


def gone(processes: set[int], seconds: float = 30.0) -> bool:
    """Wait until none of the processes is there."""
    end = time.monotonic() + seconds
    while left := [one for one in processes if Path(f"/proc/{one}").exists()]:
        if time.monotonic() > end:
            raise AssertionError(f"expected all to end, {left} are there")
        time.sleep(0.05)
    return True


def answered(port: int) -> int:
    found = re.search(r'^feredge_requests_total\{status="200"\} (\d+)\.0$', ask(port, "/metrics")[1], re.M)
    return int(found[1]) if found else 0


def test_two_processes_are_one_service(small_onnx: Path) -> None:
    """They answer at one port and count together; a killed one is started again, its counts stay; SIGTERM ends all."""
    with command(small_onnx, "--processes", "2") as (process, port):
        assert [ask(port, "/predict", PICTURE)[0] for _ in range(24)] == [200] * 24
        # each of 24 connections goes to either process: both answered, but once in 8 million runs
        assert [answered(port) for _ in range(12)] == [24] * 12
        before = children(process.pid)
        assert len(before) == 2
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        assert "is replaced" in process.stderr.readline()  # type: ignore[union-attr]  # a pipe
        wait_for_children(process.pid, 2, besides=killed)
        for _ in range(24):
            assert ask(port, "/predict", PICTURE)[0] == 200  # it waits for the new process, if that is the one
        assert answered(port) == 48
        assert json.loads(ask(port, "/health")[1])["model"] == small_onnx.name
        last = children(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0 and gone(last)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_hung_process_is_replaced(small_onnx: Path) -> None:
    """Guards against a process that is there, keeps its share of the connections and answers none."""
    with command(small_onnx, "--processes", "2") as (process, port):
        hung = min(children(process.pid))
        os.kill(hung, signal.SIGSTOP)
        assert f"process {hung} hung" in process.stderr.readline()  # type: ignore[union-attr]  # a pipe
        assert "is replaced" in process.stderr.readline()  # type: ignore[union-attr]  # a pipe
        assert gone({hung})
        assert [ask(port, "/predict", PICTURE)[0] for _ in range(24)] == [200] * 24


def test_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a number that stands still while this process looks is hung; not all, after it was stopped itself."""
    now = 100.0
    monkeypatch.setattr("feredge.serve.processes.time.monotonic", lambda: now)
    beats = [0, 0]
    watchdog = Watchdog(beats)
    hung = []
    for _ in range(8):
        beats[0] += 1
        hung += watchdog.hung({0, 1})
        now += 1.0
    assert hung == [1]
    now += 1000
    assert watchdog.hung({0, 1}) == []


def test_killed_service_leaves_no_process(small_onnx: Path) -> None:
    """Its processes see that it is gone; a second service at its port is an error while it stands."""
    with command(small_onnx, "--processes", "2") as (process, port):
        assert ask(port, "/health")[0] == 200
        second = [sys.executable, "-m", "feredge", "serve", "--processes", "2", "--port", str(port)]
        done = subprocess.run(second, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and "cannot bind to this address" in done.stderr
        mine = children(process.pid)
        for one in mine:  # OpenCV in each process has the service's own limit, whatever a header hides
            assert b"OPENCV_IO_MAX_IMAGE_PIXELS=25000000\0" in Path(f"/proc/{one}/environ").read_bytes()
        process.kill()
        assert gone(mine)


def test_a_process_that_can_no_longer_start_ends_the_service(small_onnx: Path, tmp_path: Path) -> None:
    """Guards against starting one process after the other for ever, once the model's file is gone."""
    model = Path(shutil.copy(small_onnx, tmp_path))
    with command(model, "--processes", "2") as (process, _):
        model.unlink()
        os.kill(min(children(process.pid)), signal.SIGKILL)
        assert process.wait(60) == 2
        lines = process.stderr.read().splitlines()  # type: ignore[union-attr]  # a pipe
        assert "is replaced" in lines[0] and f"before it did ({model}: expected a model" in lines[-1]


def test_a_missing_detector_is_told_at_the_start(small_onnx: Path) -> None:
    """Guards a service that says it is well and answers each request with 500."""
    options = ["--model", str(small_onnx), "--yunet", "none.onnx", "--port", "0"]
    done = subprocess.run([sys.executable, "-m", "feredge", "serve", *options], capture_output=True, text=True)
    assert done.returncode == 2 and "none.onnx: expected a YuNet file" in done.stderr


def test_limit_is_shared_out() -> None:
    """All processes together hold no more than was asked for."""
    plan = ServiceConfig(Path("m.onnx"), None, 1, True, 0.0, Limits(waiting=256))
    assert [3 * plan.share(3).limits.waiting <= 256, plan.share(3).limits.waiting] == [True, 85]


def test_each_process_can_hold_the_largest_request() -> None:
    """Otherwise that request would be 503 for ever, though nothing else is under way."""
    from feredge.serve.limits import Budget

    limits = service_limits(3, bytes=10_000_000, pixels=25_000_000).share(3)
    assert limits.request_pixels == 50_000_000
    assert Budget(limits.waiting_bytes, 1).take(10_000_000, 10_000_000)
    assert Budget(limits.waiting_pixels, 1).take(50_000_000, 50_000_000)
    with pytest.raises(RunError, match="expected at least 40,000,002 waiting bytes for 3 processes, found 30,000,000"):
        service_limits(3, waiting_bytes=30_000_000, bytes=10_000_000)
    exact = service_limits(3, waiting_bytes=40_000_002, bytes=10_000_000).share(3)
    assert Budget(exact.waiting_bytes, 1).take(10_000_000, 10_000_000)


def test_processes_that_cannot_hold_a_request(small_onnx: Path) -> None:
    """Such a request would be 503 for ever."""
    done = subprocess.run(
        [sys.executable, "-m", "feredge", "serve", "--processes", "3", "--queue", "100"], capture_output=True, text=True
    )
    assert done.returncode == 2 and "at least --processes times --max-pictures, 192" in done.stderr


def test_rows_are_summed_and_taken_over() -> None:
    """What a process counted stays when another takes its row; what waited in it does not."""
    classes = ("a", "b")
    rows = array("d", bytes(8 * 2 * Metrics.width(classes)))
    first, second = (Metrics(classes, rows, row) for row in range(2))
    face = Face("b", 1.0, (0.0, 1.0), classes)
    for one in (first, second):
        one.request(200, 0.002)
        one.batch(3, 0.5, [[face], [face, face]])
        one.waiting(5)
    second.request(503, 20.0)
    text = Metrics(classes, rows, 1).to_text()
    assert text == first.to_text()
    for line in (
        'feredge_requests_total{status="200"} 2.0',
        'feredge_requests_total{status="503"} 1.0',
        'feredge_request_seconds_bucket{le="0.001"} 0.0',
        'feredge_request_seconds_bucket{le="0.0025"} 2.0',
        'feredge_request_seconds_bucket{le="10.0"} 2.0',
        'feredge_request_seconds_bucket{le="+Inf"} 3.0',
        "feredge_pictures_total 6.0",
        "feredge_pictures_waiting 5.0",
        "feredge_batch_seconds_total 1.0",
        'feredge_faces_total{label="b"} 6.0',
    ):
        assert line in text.splitlines()
    assert 'label="a"' not in text


def test_labels_are_escaped() -> None:
    """Guards the whole text: one class with a quote in its name, and Prometheus reads none of it."""
    name = 'so\\ "so"\n'
    metrics = Metrics((name,))
    metrics.batch(1, 0.5, [[Face(name, 1.0, (1.0,), (name,))]])
    assert r'feredge_faces_total{label="so\\ \"so\"\n"} 1.0' in metrics.to_text().splitlines()
