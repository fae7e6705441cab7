"""The service as a client sees it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from device_models import draw_frame, faces

from feredge import Face, Predictor

Serving = Callable[..., Any]


def png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


def test_one_picture(serving: Serving, small_onnx: Path) -> None:
    """The answer is the Predictor's own."""
    picture = png(faces(1)[0])
    with serving() as service, Predictor(small_onnx) as predictor:
        assert service.post(picture) == (200, {"faces": [predictor(picture).to_dict()]})


def test_faces_in_a_frame(serving: Serving) -> None:
    """With face=0, or where the service was started so, faces are looked for."""
    frame = png(draw_frame()[0])
    with serving() as service:
        assert len(service.post(frame)[1]["faces"]) == 1
        found = service.post(frame, "?face=0")[1]["faces"]
        assert len(found) == 2 and found[0]["box"][2] > found[1]["box"][2]
    with serving(detect=True) as service:
        assert service.post(frame) == (200, {"faces": found})
        assert service.post(png(np.zeros((99, 99), np.uint8))) == (200, {"faces": []})


def test_many_pictures(serving: Serving, small_onnx: Path) -> None:
    """A form of files is answered file by file; a bad one has its error, and the others their faces."""
    pictures = [png(one) for one in faces(20)]
    bad = pictures[0][:-30]
    with serving() as service, Predictor(small_onnx) as predictor:
        status, answer = service.post_many(*pictures, b"text", bad)
        assert status == 200 and len(answer["pictures"]) == 22
        assert [one["faces"][0]["label"] for one in answer["pictures"][:20]] == [
            face.label for face in predictor.batch(pictures)
        ]
        assert (
            "expected a PNG" in answer["pictures"][20]["error"] and "cannot decode" in answer["pictures"][21]["error"]
        )


def test_content_with_anything_in_it() -> None:
    """Bytes that look like a boundary or a header's end inside a file do not split it; only files are pictures."""
    from feredge.serve.request import form_files

    files = [b"a\r\n--xy\r\n\r\nb", b"", b"x--xyz", b"\r\n\r\n--xy--\r\n"]
    head = b'--xyz\r\ncontent-disposition: form-data; name="p"; filename="c"\r\n\r\n'
    body = b"".join(head + one + b"\r\n" for one in files)
    body += b'--xyz\r\nContent-Disposition: form-data; name="filename"\r\n\r\nno file\r\n--xyz--\r\n'
    assert form_files(b'multipart/form-data; boundary="xyz"', body, 9) == files


@pytest.mark.parametrize("box", [None, (1, 2, 30, 40)])
def test_text_is_the_json_of_the_answer(box: tuple[int, int, int, int] | None) -> None:
    """It is put together without json, for speed, and must be what json writes; also where names hold its signs."""
    from feredge.serve.request import _result_json

    classes = ('a"b', "50%", "ärger", "%r")
    face = Face(classes[0], 1 / 3, (1 / 3, 1e-9, 0.0, float(np.float32(0.1))), classes, box)
    assert _result_json([face, face]) == json.dumps({"faces": [face.to_dict()] * 2})
    assert _result_json([]) == '{"faces": []}'


def bomb(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + b"\0" * 99


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "found none"),
        (b"text", 415, "expected a PNG"),
        (png(faces(1)[0])[:-30], 422, "cannot decode"),
        (bomb(50_000, 50_000), 413, "25,000,000 pixels"),
        (b"\x89PNG" + b"\0" * 20_000, 413, "10,000 bytes"),
    ],
)
def test_bad_pictures(serving: Serving, body: bytes, status: int, words: str) -> None:
    """Each gets its own status and one line, and the next request works."""
    from feredge.serve.limits import Limits

    with serving(limits=Limits(bytes=10_000)) as service:
        found, answer = service.post(body)
        assert found == status and words in answer["error"]
        assert service.post(png(np.zeros((48, 48), np.uint8)))[0] == 200


def test_body_without_a_length(serving: Serving) -> None:
    """A body in chunks is counted as it comes, and cut off; one that lies about its length too."""
    from feredge.serve.limits import Limits

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"\x89PNG" + b"\0" * 1000

    with serving(limits=Limits(bytes=10_000)) as service:
        try:
            found = service.ask("POST", "/predict", endless(), {"transfer-encoding": "chunked"})
            assert found[0] == 413
        except (BrokenPipeError, ConnectionResetError):
            pass  # the service may hang up while the client still sends
        small = iter([png(np.zeros((48, 48), np.uint8))])
        assert service.ask("POST", "/predict", small, {"transfer-encoding": "chunked"})[0] == 200


FORM_FILE = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nb\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data", b"--x--", 400),
        ("multipart/form-data; boundary*=x; boundary*1=y", b"--x--", 400),
        ("multipart/form-data; boundary=x", b"", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n", 400),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 400),
        ("multipart/form-data; boundary=x", b'--x\r\nname="a"\r\n\r\nb\r\n--x--', 400),
        ("multipart/form-data; boundary=x", FORM_FILE * 3 + b"--x--", 413),
    ],
)
def test_bad_forms(serving: Serving, kind: str, body: bytes, status: int) -> None:
    """A form without its boundary, end or files, or with too many of them."""
    from feredge.serve.limits import Limits

    with serving(limits=Limits(pictures=2)) as service:
        assert service.ask("POST", "/predict", body, {"content-type": kind})[0] == status


def test_other_requests(serving: Serving) -> None:
    """Unknown paths, methods and options are the client's mistakes."""
    with serving() as service:
        assert service.ask("GET", "/predict")[0] == 405
        assert service.ask("GET", "/nothing")[0] == 404
        assert service.ask("GET", "/docs")[0] == 404  # it would load scripts from elsewhere
        assert service.post(b"x", "?face=maybe")[0] == 400


def test_slow_client(serving: Serving) -> None:
    """Whoever sends a byte and then nothing is told so, and holds nobody up."""
    from feredge.serve.limits import Limits

    with (
        serving(limits=Limits(body_seconds=0.3)) as service,
        socket.create_connection(("127.0.0.1", service.port)) as slow,
    ):
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nab")
        assert service.post(png(np.zeros((48, 48), np.uint8)))[0] == 200
        slow.settimeout(20)
        assert b" 408 " in slow.recv(100)


class Blocked(Predictor):
    """Answers when it is told to."""

    gate = threading.Event()

    def classify(self, *arguments: Any, **options: Any) -> Any:
        assert self.gate.wait(60)
        return super().classify(*arguments, **options)


def test_full_queue_is_503(serving: Serving, small_onnx: Path) -> None:
    """Beyond the bound there is an answer at once, and what was accepted is still answered."""
    from feredge.serve.limits import Limits

    Blocked.gate.clear()
    picture = png(np.zeros((48, 48), np.uint8))
    with (
        serving(Blocked(small_onnx, threads=1), limits=Limits(waiting=8)) as service,
        ThreadPoolExecutor(8) as pool,
    ):
        accepted = [pool.submit(service.post, picture) for _ in range(8)]
        end = time.monotonic() + 30
        while "feredge_pictures_waiting 8.0" not in service.ask("GET", "/metrics")[1] and time.monotonic() < end:
            time.sleep(0.01)
        began = time.monotonic()
        status, answer = service.post(picture)
        assert status == 503 and "try again" in answer["error"] and time.monotonic() - began < 5
        assert service.post_many(picture, picture)[0] == 503
        assert service.ask("GET", "/health")[0] == 200
        Blocked.gate.set()
        assert [one.result()[0] for one in accepted] == [200] * 8
        assert service.post(picture)[0] == 200


def test_load_is_answered_in_batches(serving: Serving, small_onnx: Path) -> None:
    """Requests that wait together are answered together; each gets its own answer."""
    pictures = [png(one) for one in faces(24)]
    Blocked.gate.clear()
    with (
        Predictor(small_onnx) as predictor,
        serving(Blocked(small_onnx, threads=1)) as service,
        ThreadPoolExecutor(24) as pool,
    ):
        answers = [pool.submit(service.post, picture) for picture in pictures]
        end = time.monotonic() + 30
        while "feredge_pictures_waiting 24.0" not in service.ask("GET", "/metrics")[1] and time.monotonic() < end:
            time.sleep(0.01)
        Blocked.gate.set()
        found = [answer.result()[1]["faces"][0]["label"] for answer in answers]
        assert found == [face.label for face in predictor.batch(pictures)]
        text = service.ask("GET", "/metrics")[1]
        batches = int(re.search(r"^feredge_batches_total (\d+)\.0$", text, re.M).group(1))  # type: ignore[union-attr]  # a match
        assert batches <= 12 and "feredge_pictures_total 24.0" in text


def test_failing_network_is_500_and_the_service_goes_on(serving: Serving, small_onnx: Path) -> None:
    """An error inside a thread reaches its request, and the thread lives."""

    class Failing(Predictor):
        def classify(self, *arguments: Any, **options: Any) -> Any:
            raise RuntimeError("broken")

    with serving(Failing(small_onnx, threads=1), threads=1) as service:
        picture = png(np.zeros((48, 48), np.uint8))
        assert [service.ask("POST", "/predict", picture)[0] for _ in range(2)] == [500, 500]
        assert service.ask("GET", "/health")[0] == 200
        assert 'feredge_requests_total{status="500"} 2.0' in service.ask("GET", "/metrics")[1]


def test_schema(serving: Serving) -> None:
    """The schema names every path, also the one that goes past FastAPI."""
    with serving() as service:
        assert sorted(service.ask("GET", "/openapi.json")[1]["paths"]) == ["/", "/health", "/metrics", "/predict"]


def test_metrics(serving: Serving) -> None:
    """Counters move, every line is Prometheus' format, and buckets add up."""
    with serving() as service:
        service.post(png(faces(1)[0]))
        service.post(b"text")
        text = service.ask("GET", "/metrics")[1]
    assert 'feredge_requests_total{status="200"} 1.0' in text and 'feredge_requests_total{status="415"} 1.0' in text
    assert 'feredge_request_seconds_bucket{le="+Inf"} 2.0' in text and "feredge_request_seconds_count 2.0" in text
    assert re.search(r'^feredge_faces_total\{label="\w+"\} 1\.0$', text, re.M)
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]+"\})? [0-9.e-]+', line), line


def test_health(serving: Serving, small_onnx: Path) -> None:
    """It names the network."""
    with serving() as service:
        status, answer = service.ask("GET", "/health")
    assert status == 200 and answer["status"] == "ok" and answer["model"] == small_onnx.name
    assert answer["detect"] is False


def test_pictures_are_never_written(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Form parsers of the usual libraries spool uploads into temporary files; here nothing opens one."""

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("a temporary file was opened")

    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    large = png(np.random.default_rng(1).integers(0, 256, (1200, 1200), np.uint8))
    assert len(large) > 1_000_000
    with serving() as service:
        assert service.post_many(large)[0] == 200 == service.post(large)[0]


@pytest.mark.parametrize(("processes", "end"), [(1, signal.SIGINT), (1, signal.SIGTERM), (2, signal.SIGTERM)])
def test_command_ends_gracefully(small_onnx: Path, processes: int, end: signal.Signals) -> None:
    """`feredge serve` binds to this machine only; told to end, it answers what came in, and ends with 0."""
    pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = (
        "from feredge import cli;"
        f"cli.main(['serve', '--cropped', '--model', {str(small_onnx)!r}, '--port', '{port}', "
        f"'--processes', '{processes}'])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "serving" in line:
                break
        assert f"http://127.0.0.1:{port}" in line
        picture = png(np.zeros((48, 48), np.uint8))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.putrequest("POST", "/predict")
        connection.putheader("content-length", str(len(picture)))
        connection.endheaders(picture[:50])
        time.sleep(0.5)
        process.send_signal(end)
        time.sleep(0.5)
        connection.send(picture[50:])  # the rest of a request that had begun
        assert connection.getresponse().status == 200
        connection.close()
        assert process.wait(40) == 0
    finally:
        process.kill()
        process.stderr.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_missing_extra_is_named(small_onnx: Path) -> None:
    """Without FastAPI the command says what to install."""
    code = (
        "import sys; sys.modules['fastapi'] = sys.modules['uvicorn'] = None\n"
        "from feredge import cli\n"
        f"cli.main(['serve', '--model', {str(small_onnx)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 2 and "pip install 'feredge[serve]'" in done.stderr
