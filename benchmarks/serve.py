#!/usr/bin/env python3
"""What does a request cost over bare inference? Prints requests a second, the ratio, and what overload does.

    python benchmarks/serve.py [--model FILE.onnx] [--processes 1 2] [--seconds 5] [--rounds 5] [--clients 16]

The service runs as `feredge serve --cropped` with each number of processes, on every core; clients are a process of
their own on the same cores, keep their connections and always have one request under way each. They are wrk where it
is on the PATH (Debian: apt-get install wrk), else Python, which takes about as much of the cores as the service. A
request is a drawn 48x48 face as PNG. Rounds of load and of the bare session (one picture at a time in one thread, and
batches of 256 on every core) take turns. The ratio to reach is 1.5: wall time a request at full load over the bare
cost of one picture.
Then the same load runs beside 400 idle connections, each with half a header, and one whose headers have no end, all
of which come back whenever the service closes them; rounds with and without them take turns. The rate to reach is 0.8
of the undisturbed one.
Overload is ten times as many clients as the queue holds pictures: every answer must be 200 or 503.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NoReturn

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import cv2
import numpy as np
import onnxruntime

from feredge.data.drawn import drawn
from feredge.inference.runtimes import find_model

IDLE_CONNECTIONS = 400
HALF_HEADER = b"GET /health HTTP/1.1\r\nHost: x\r\n"
CORES = len(os.sched_getaffinity(0))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="an .onnx file of 48x48 gray input; feredge's own unless given")
    parser.add_argument("--processes", type=int, nargs="+", default=sorted({1, CORES}))
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--load", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--attack", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.load:
        port, clients, seconds = args.load
        print(json.dumps(load(int(port), int(clients), float(seconds))))
        return
    if args.attack:
        attack(args.attack)
    model = find_model(args.model)
    wrk = shutil.which("wrk")
    print(f"serve: {model.name}, {CORES} cores, {args.clients} clients ({'wrk' if wrk else 'Python; wrk not found'})")
    ratios, disturbed = {}, {}
    for processes in args.processes:
        with serving(model, processes) as (process, port):
            ratios[processes] = measure(process.pid, port, model, processes, args, send_wrk if wrk else send)
            disturbed[processes] = measure_disturbed(port, args, send_wrk if wrk else send)
            over = send(port, 10 * 256, args.seconds)
            print(f"  overload: {over['clients']:,} clients, answers by status {over['statuses']}, ", end="")
            wrong = over["failures"] or not {int(status) for status in over["statuses"]} <= {200, 503}
            print(f"failures {over['failures']}{': expected 200 and 503 only' if wrong else ''}")
            process.terminate()
            process.wait(40)
    best = min(ratios, key=ratios.__getitem__)
    print(
        f"serve: best with {best} processes: {ratios[best]:.2f} of the bare cost (reach at most 1.5); beside hostile "
        f"connections {disturbed[best]:.2f} of the undisturbed rate (reach at least 0.8)"
    )


def measure(
    process: int, port: int, model: Path, processes: int, args: argparse.Namespace, send: Callable[..., dict]
) -> float:
    """Print what one number of processes does; return its ratio."""
    send(port, args.clients, 1)  # warm up
    rates, single, many, busy = [], [], [], []
    for _ in range(args.rounds):
        before = cpu(process)
        done = send(port, args.clients, args.seconds)
        if set(done["statuses"]) != {"200"} or done["failures"]:
            raise SystemExit(f"expected 200 only, found {done['statuses']}, failures {done['failures']}")
        rates.append(done["rate"])
        busy.append((cpu(process) - before) / done["statuses"]["200"])
        single.append(bare(model, 1, 1))
        many.append(bare(model, CORES, 256))
    each, alone, batched = 1 / statistics.median(rates), statistics.median(single), statistics.median(many)
    print(
        f"  {processes} processes: {1 / each:,.0f} requests/s, {each * 1e6:.0f} us each, "
        f"{statistics.median(busy) * 1e6:.0f} us of CPU time in the service\n"
        f"    {each / alone:.2f} of the bare cost of a picture alone, {alone * 1e6:.0f} us (reach 1.5); "
        f"{each / batched:.2f} of that in batches on every core, {batched * 1e6:.0f} us"
    )
    return each / alone


def measure_disturbed(port: int, args: argparse.Namespace, send: Callable[..., dict]) -> float:
    """Print what hostile connections do to the rate of ordinary requests; return its share of the undisturbed rate."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    wrong = 0
    for _ in range(args.rounds):
        for hostile in (False, True):
            with attacking(port) if hostile else nullcontext():
                done = send(port, args.clients, args.seconds)
            rates[hostile].append(done["rate"])
            wrong += done["failures"] + sum(n for status, n in done["statuses"].items() if status != "200")
    alone, beside = statistics.median(rates[False]), statistics.median(rates[True])
    print(
        f"    {beside / alone:.2f} of the rate beside {IDLE_CONNECTIONS} idle connections and one with endless "
        f"headers, {beside:,.0f} of {alone:,.0f} requests/s (reach 0.8); not answered with 200: {wrong}"
    )
    return beside / alone


@contextmanager
def attacking(port: int) -> Iterator[None]:
    """Run the hostile connections in a process of their own."""
    command = [sys.executable, __file__, "--attack", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "connected\n"
        yield
    finally:
        process.kill()
        process.wait()


def attack(port: int) -> NoReturn:
    """Hold idle connections with half a header each, and send headers without end on one more, until killed."""

    def connect() -> socket.socket:
        one = socket.create_connection(("127.0.0.1", port), timeout=30)
        one.sendall(HALF_HEADER)
        return one

    selector = selectors.DefaultSelector()
    for _ in range(IDLE_CONNECTIONS):
        selector.register(connect(), selectors.EVENT_READ)
    endless = connect()
    print("connected", flush=True)
    while True:
        try:
            endless.sendall(b"X: " + b"a" * 1000 + b"\r\n")
        except OSError:
            endless.close()
            endless = connect()
        for key, _ in selector.select(0.01):  # closed by the service
            one = key.fileobj
            selector.unregister(one)
            one.close()
            selector.register(connect(), selectors.EVENT_READ)


class serving:
    """The command as a process, and its port; ended at the latest when the block ends."""

    def __init__(self, model: Path, processes: int) -> None:
        command = [sys.executable, "-m", "feredge", "serve", "--cropped", "--model", str(model), "--port", "0"]
        command += ["--processes", str(processes)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> tuple[subprocess.Popen[str], int]:
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        if not line.startswith("serving"):
            raise SystemExit(f"the service did not start: {line}")
        return self.process, int(line.split("http://127.0.0.1:")[1].split()[0])

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def send_wrk(port: int, clients: int, seconds: int) -> dict:
    """Run the load by wrk."""
    with tempfile.TemporaryDirectory() as name:
        picture, script = Path(name) / "face.png", Path(name) / "post.lua"
        picture.write_bytes(face())
        script.write_text(f'wrk.method = "POST"\nwrk.body = io.open("{picture}", "rb"):read("*a")\n')
        address = f"http://127.0.0.1:{port}/predict"
        command = ["wrk", "--threads=1", f"--connections={clients}", f"--duration={seconds}s", "--script", str(script)]
        text = subprocess.run([*command, address], check=True, capture_output=True, text=True).stdout
    total, took = re.search(r"(\d+) requests in ([\d.]+)s", text).groups()  # type: ignore[union-attr]
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    statuses = {"200": int(total) - int(other[1] if other else 0)} | ({"other": int(other[1])} if other else {})
    failures = sum(map(int, errors.groups())) if errors else 0
    return {"rate": statuses["200"] / float(took), "statuses": statuses, "failures": failures, "clients": clients}


def face() -> bytes:
    """Return the picture that is sent."""
    return cv2.imencode(".png", drawn(70, 1).images[0].reshape(48, 48))[1].tobytes()


def send(port: int, clients: int, seconds: float) -> dict:
    """Run the load in a process of its own."""
    command = [sys.executable, __file__, "--load", str(port), str(clients), str(seconds)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def load(port: int, clients: int, seconds: float) -> dict:
    """Keep one request under way on each of `clients` connections; count answers by status."""
    body = face()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    selector = selectors.DefaultSelector()
    statuses: Counter[str] = Counter()
    failures = 0
    pending: dict[socket.socket, bytes] = {}

    def connect() -> None:
        one = socket.create_connection(("127.0.0.1", port), timeout=30)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.sendall(request)
        pending[one] = b""
        selector.register(one, selectors.EVENT_READ)

    for _ in range(clients):
        try:
            connect()
        except OSError:
            failures += 1
    began = time.perf_counter()
    while pending and (now := time.perf_counter() - began) < seconds:
        for key, _ in selector.select(seconds - now):
            one = key.fileobj
            try:
                data = pending[one] + one.recv(65536)
            except OSError:
                data = b""
            head, blank, rest = data.partition(b"\r\n\r\n")
            if data and (not blank or len(rest) < int(head.lower().split(b"content-length: ")[1].split(b"\r")[0])):
                pending[one] = data
                continue
            if data:
                statuses[head[9:12].decode()] += 1
                pending[one] = b""
            if not data or b"connection: close" in head.lower():
                failures += not data
                selector.unregister(one)
                del pending[one]
                one.close()
                try:
                    connect()
                except OSError:
                    failures += 1
            else:
                one.sendall(request)
    took = time.perf_counter() - began
    return {"rate": statuses["200"] / took, "statuses": dict(statuses), "failures": failures, "clients": clients}


def cpu(process: int) -> float:
    """Return the seconds of CPU time that a service has used, by all its processes and threads."""
    children = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False).stdout.split()
    ticks = 0
    for one in (process, *children):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(") ")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def bare(model: Path, threads: int, batch: int) -> float:
    """Return the median seconds a picture of a bare session."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    pictures = drawn(max(70, batch), 1).images[:batch].reshape(batch, 48, 48, 1)
    times = []
    for _ in range(max(20, 1000 // batch)):
        began = time.perf_counter()
        session.run(None, {name: np.ascontiguousarray(pictures)})
        times.append((time.perf_counter() - began) / batch)
    return statistics.median(times)


if __name__ == "__main__":
    main()
