"""One service of many processes: they share a port, limits and counters; one that dies or hangs is replaced.

Each process counts up a number in shared memory once a second, unless its event loop or a batch hangs. The first
process, which serves nothing itself, kills one whose number stands still. A service of one process has nobody who
watches it: whoever needs that runs two, or lets systemd or a container's health check ask for /health.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from feredge.errors import FeredgeError, RunError
from feredge.inference.parallel import exit_with_parent
from feredge.inference.predictor import Predictor
from feredge.serve.limits import ADDRESS_SLOTS, Limits
from feredge.serve.metrics import Metrics

GRACE = 30  # seconds to answer what came in, before a process ends
BEAT_SECONDS = 1.0
HANG_SECONDS = 6.0  # without a beat, after which a process is replaced
BATCH_SECONDS = 60.0  # of one batch, after which a process beats no more


@dataclass(frozen=True)
class Plan:
    """What every process of a service does.

    Attributes:
        model: the network's file.
        yunet: a YuNet file to find faces with; None for OpenCV's cascade.
        threads: that answer side by side, in each process.
        detect, margin: as `Predictor.stream` takes them.
        limits: of one process.
        origins: of pages elsewhere whose scripts may use the service.
        proxy: address of a proxy that is trusted to name its clients.
    """

    model: Path
    yunet: Path | None
    threads: int
    detect: bool
    margin: float
    limits: Limits
    origins: tuple[str, ...] = ()
    proxy: str | None = None

    def share(self, count: int) -> Plan:
        """Return the plan of one of `count` processes, which together hold as much as this one."""
        return replace(self, limits=self.limits.share(count))


def listen(host: str, port: int, processes: int) -> list[socket.socket]:
    """Return a socket for each process, all at one address; port 0 takes any that is free.

    On Linux the kernel deals connections out among sockets. From one shared socket the process that wakes first takes
    all that wait, and keeps them as long as the clients do. Elsewhere the list is one socket over and over.

    Raises:
        OSError: no address, or a taken one.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    first = socket.create_server((host, port), family=family)  # alone: a port shared by mistake is an error
    if processes == 1 or sys.platform != "linux":
        return [first] * processes
    address = first.getsockname()[:2]
    first.close()
    return [socket.create_server(address, family=family, reuse_port=True) for _ in range(processes)]


@dataclass(frozen=True)
class Shared:
    """Memory that all processes of a service share; each writes its own row.

    Attributes:
        counters: of `Metrics`.
        addresses: of `AddressCounts`.
        beats: one number a process.
        key: of `AddressCounts`.
    """

    counters: Any
    addresses: Any
    beats: Any
    key: bytes


def run(
    plan: Plan,
    listener: socket.socket,
    predictor: Predictor,
    *,
    shared: Shared | None = None,
    row: int = 0,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Serve in this process until it is told to end by SIGINT or SIGTERM; `started` is called when it answers."""
    import uvicorn  # type: ignore[import-not-found,import-untyped]

    from feredge.serve.app import create_app
    from feredge.serve.connections import AddressCounts, ConnectionGuard, server_config

    async def beat(batcher: Any) -> None:
        while shared:
            if batcher.busy_seconds() < BATCH_SECONDS:
                shared.beats[row] += 1
            await asyncio.sleep(BEAT_SECONDS)

    app = create_app(
        predictor,
        threads=plan.threads,
        detect=plan.detect,
        margin=plan.margin,
        limits=plan.limits,
        metrics=Metrics(predictor.classes, shared.counters, row) if shared else None,
        origins=plan.origins,
        heartbeat=beat,
    )
    addresses = AddressCounts(shared.key, shared.addresses, row) if shared else None
    config = server_config(app, ConnectionGuard(plan.limits, addresses, plan.proxy), GRACE)

    class Server(uvicorn.Server):  # type: ignore[misc]
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started()

    Server(config).run(sockets=[listener])


def run_many(
    plan: Plan,
    listeners: list[socket.socket],
    classes: tuple[str, ...],
    *,
    started: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    """Serve in as many processes as there are sockets until SIGINT or SIGTERM, then let them answer and end.

    Args:
        plan: of the whole service; each process holds its share.
        listeners: as `listen` returns them.
        classes: the network's.
        started: called when all processes answer.
        say: called with a line when a process died or hung and another was started.

    Raises:
        RunError: a process that ended before it could serve, at the start or in another's place, as the next would.
    """
    # Not forked: this process may have threads, and macOS forbids it.
    spawn = multiprocessing.get_context("spawn")
    count = len(listeners)
    shared = Shared(
        spawn.RawArray("d", count * Metrics.width(classes)),
        spawn.RawArray("H", count * ADDRESS_SLOTS),
        spawn.RawArray("Q", count),
        os.urandom(16),
    )
    watch = Watch(shared.beats)
    share = plan.share(count)
    processes: dict[int, BaseProcess] = {}
    starting: dict[int, Any] = {}  # where those that do not serve yet will say that they do

    def start(row: int) -> None:
        ready, tell = spawn.Pipe(duplex=False)
        process = spawn.Process(target=_work, args=(share, listeners[row], shared, row, tell))
        process.start()
        tell.close()
        processes[row], starting[row] = process, ready

    with _signals() as told:
        try:
            for row in range(count):
                start(row)
            first = True
            while told not in connection.wait(
                [told, *starting.values(), *(one.sentinel for one in processes.values())], BEAT_SECONDS
            ):
                for row, ready in list(starting.items()):
                    if ready.poll():
                        del starting[row]
                        if (why := _failure(ready)) is not None:
                            raise RunError(f"expected {count} processes that serve, one ended before it did{why}")
                if first and not starting:
                    first = False
                    started()
                for row in watch.hung(set(processes) - set(starting)):
                    say(f"process {processes[row].pid} hung for {HANG_SECONDS:g} seconds")
                    processes[row].kill()  # it would not hear SIGTERM
                    processes[row].join()
                for row, process in list(processes.items()):
                    if process.exitcode is not None:
                        say(f"process {process.pid} ended with {process.exitcode}; another takes its place")
                        start(row)
        finally:
            for listener in listeners:
                listener.close()
            for process in processes.values():
                process.terminate()
            for process in processes.values():
                process.join(GRACE + 10)
                process.kill()


class Watch:
    """Which processes of a service count no more.

    Args:
        beats: one number a process, which each counts up.
    """

    def __init__(self, beats: Any) -> None:
        self._beats = beats
        self._seen: dict[int, tuple[int, float]] = {}  # by process: its number, and since when
        self._checked = 0.0

    def hung(self, rows: set[int]) -> list[int]:
        """Return those of `rows` whose number has stood still for HANG_SECONDS; called about once a second."""
        now = time.monotonic()
        if now - self._checked > HANG_SECONDS / 2:
            self._seen.clear()  # this process itself stood still, and may have stopped all
        self._checked = now
        for row in set(self._seen) - rows:
            del self._seen[row]
        for row in rows:
            beat = self._beats[row]
            if row not in self._seen or self._seen[row][0] != beat:
                self._seen[row] = (beat, now)
        late = [row for row in rows if now - self._seen[row][1] > HANG_SECONDS]
        for row in late:
            del self._seen[row]
        return late


def _failure(ready: Any) -> str | None:
    """Return why a process could not start; None where it serves."""
    try:
        why: str | None = ready.recv()
    except EOFError:  # killed, or an error of another kind, which it prints itself
        return ""
    return why and f" ({why})"


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """Give a socket that becomes readable at SIGINT or SIGTERM, which do nothing else meanwhile."""
    told, tell = socket.socketpair()
    tell.setblocking(False)
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    wakeup = signal.set_wakeup_fd(tell.fileno())
    try:
        yield told
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        told.close()
        tell.close()


def _work(plan: Plan, listener: socket.socket, shared: Shared, row: int, tell: Any) -> None:
    """Be one process of a service."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one passes SIGTERM on
    exit_with_parent()  # without it a killed service would go on, and hold its port
    try:
        predictor = Predictor(plan.model, threads=1, detector=plan.yunet)
    except FeredgeError as error:
        tell.send(str(error))
        return
    run(plan, listener, predictor, shared=shared, row=row, started=lambda: tell.send(None))
