"""A service of several processes that share a port, limits and counters; dead and hung processes are replaced.

Each worker process increments a heartbeat counter in shared memory once a second, unless its event loop or a batch
hangs. The parent process kills workers whose counter stops. A service of one process has no watchdog: use two, or the
health check of systemd or a container on /health.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from feredge.errors import FeredgeError, RunError
from feredge.inference.foreign import ForeignModel
from feredge.inference.parallel import exit_with_parent
from feredge.inference.predictor import Predictor
from feredge.inference.spawn import IndependentContext
from feredge.serve.limits import ADDRESS_SLOTS, Limits
from feredge.serve.metrics import Metrics

GRACE_SECONDS = 30  # to finish requests on shutdown
HEARTBEAT_SECONDS = 1.0
HANG_SECONDS = 6.0  # without a heartbeat, after which a process is replaced
BATCH_HANG_SECONDS = 60.0  # of one batch, after which heartbeats stop


@dataclass(frozen=True)
class ServiceConfig:
    """Configuration of a service's processes.

    Attributes:
        model: the network's file.
        yunet: a YuNet file for face detection; None for OpenCV's Haar cascade.
        threads: inference threads of each process.
        detect, margin: as in `Predictor.stream`.
        limits: of the whole service; of one process after `share`.
        origins: allowed CORS origins.
        proxy: address of a trusted proxy, which names its clients.
        foreign: classes and input of a file without a card.
        unsure: as in `Predictor`.
    """

    model: Path
    yunet: Path | None
    threads: int
    detect: bool
    margin: float
    limits: Limits
    origins: tuple[str, ...] = ()
    proxy: str | None = None
    foreign: ForeignModel | None = None
    unsure: float | bool = False

    def share(self, count: int) -> ServiceConfig:
        """Return the configuration of each of `count` processes, with its share of the limits."""
        return replace(self, limits=self.limits.share(count))


def listen(host: str, port: int, processes: int) -> list[socket.socket]:
    """Return a listening socket for each process, all at one address; port 0 takes a free port.

    On Linux the kernel balances connections between sockets (SO_REUSEPORT). From a shared socket the process that
    wakes first would accept all pending connections. Elsewhere all processes share one socket.

    Raises:
        OSError: an invalid address, or one in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    first = socket.create_server((host, port), family=family)  # exclusive: a port in use must be an error
    if processes == 1 or sys.platform != "linux":
        return [first] * processes
    address = first.getsockname()[:2]
    first.close()
    return [socket.create_server(address, family=family, reuse_port=True) for _ in range(processes)]


@dataclass(frozen=True)
class SharedMemory:
    """Shared memory of a service's processes; each writes its own row.

    Attributes:
        counters: rows of `Metrics`.
        addresses: rows of `AddressCounts`.
        heartbeats: one counter per process.
        key: hash key of `AddressCounts`.
    """

    counters: Any
    addresses: Any
    heartbeats: Any
    key: bytes


def serve_process(
    config: ServiceConfig,
    listener: socket.socket,
    predictor: Predictor,
    *,
    shared: SharedMemory | None = None,
    row: int = 0,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve in this process until SIGINT or SIGTERM; `on_ready` is called when it accepts requests."""
    import uvicorn  # type: ignore[import-not-found,import-untyped]

    from feredge.serve.app import create_app
    from feredge.serve.connections import AddressCounts, ConnectionGuard, server_config

    async def send_heartbeats(batcher: Any) -> None:
        while shared:
            if batcher.busy_seconds() < BATCH_HANG_SECONDS:
                shared.heartbeats[row] += 1
            await asyncio.sleep(HEARTBEAT_SECONDS)

    app = create_app(
        predictor,
        threads=config.threads,
        detect=config.detect,
        margin=config.margin,
        limits=config.limits,
        metrics=Metrics(predictor.classes, shared.counters, row) if shared else None,
        origins=config.origins,
        heartbeat=send_heartbeats,
    )
    addresses = AddressCounts(shared.key, shared.addresses, row) if shared else None
    uvicorn_config = server_config(app, ConnectionGuard(config.limits, addresses, config.proxy), GRACE_SECONDS)

    class Server(uvicorn.Server):  # type: ignore[misc]
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready()

    Server(uvicorn_config).run(sockets=[listener])


def serve_processes(
    config: ServiceConfig,
    listeners: list[socket.socket],
    classes: tuple[str, ...],
    *,
    on_ready: Callable[[], None],
    notify: Callable[[str], None],
) -> None:
    """Serve in as many processes as there are sockets until SIGINT or SIGTERM, then shut them down gracefully.

    Args:
        config: of the whole service; each process gets its share.
        listeners: the result of `listen`.
        classes: the network's class names.
        on_ready: called when all processes accept requests.
        notify: called with a message when a process died or hung and is replaced.

    Raises:
        RunError: a process ended before it could serve, at the start or as a replacement.
    """
    workers = _Workers(config, listeners, classes)
    with _signals() as wakeup_socket:
        try:
            workers.start_all()
            is_ready = False
            while not workers.wait(wakeup_socket):
                workers.check_started()
                if not is_ready and not workers.starting:
                    is_ready = True
                    on_ready()
                workers.replace(notify)
        finally:
            workers.stop()


class _Workers:
    """The worker processes of a service, each with a socket and a row of the shared memory.

    Attributes:
        starting: pipes on which starting processes report that they are ready, by row.
    """

    def __init__(self, config: ServiceConfig, listeners: list[socket.socket], classes: tuple[str, ...]) -> None:
        self._context = IndependentContext()
        self._count = len(listeners)
        self._config = config.share(self._count)
        self._listeners = listeners
        self._shared = SharedMemory(
            self._context.RawArray("d", self._count * Metrics.width(classes)),
            self._context.RawArray("H", self._count * ADDRESS_SLOTS),
            self._context.RawArray("Q", self._count),
            os.urandom(16),
        )
        self._watchdog = Watchdog(self._shared.heartbeats)
        self._processes: dict[int, BaseProcess] = {}
        self.starting: dict[int, Any] = {}

    def start_all(self) -> None:
        for row in range(self._count):
            self._start(row)

    def _start(self, row: int) -> None:
        receiver, sender = self._context.Pipe(duplex=False)
        arguments = (self._config, self._listeners[row], self._shared, row, sender)
        process = self._context.Process(target=_run_worker, args=arguments)
        process.start()
        sender.close()
        self._processes[row], self.starting[row] = process, receiver

    def wait(self, wakeup_socket: socket.socket) -> bool:
        """Wait for a signal, a ready or an ended process, HEARTBEAT_SECONDS at most; return whether it is a signal."""
        sentinels = [process.sentinel for process in self._processes.values()]
        ready = connection.wait([wakeup_socket, *self.starting.values(), *sentinels], HEARTBEAT_SECONDS)
        return wakeup_socket in ready

    def check_started(self) -> None:
        """Note which processes are ready; RunError if one ended before it was."""
        for row, receiver in list(self.starting.items()):
            if receiver.poll():
                del self.starting[row]
                if (reason := _startup_error(receiver)) is not None:
                    raise RunError(f"expected {self._count} processes that serve, one ended before it did{reason}")

    def replace(self, notify: Callable[[str], None]) -> None:
        """Kill hung processes, and start a new one for each that ended."""
        for row in self._watchdog.hung(set(self._processes) - set(self.starting)):
            notify(f"process {self._processes[row].pid} hung for {HANG_SECONDS:g} seconds")
            self._processes[row].kill()  # it would not handle SIGTERM
            self._processes[row].join()
        for row, process in list(self._processes.items()):
            if process.exitcode is not None:
                notify(f"process {process.pid} ended with {process.exitcode} and is replaced")
                self._start(row)

    def stop(self) -> None:
        """Close the sockets, and end all processes, by force after GRACE_SECONDS."""
        for listener in self._listeners:
            listener.close()
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.join(GRACE_SECONDS + 10)
            process.kill()


class Watchdog:
    """Detects hung processes by their heartbeats.

    Args:
        heartbeats: one counter per process, which the process increments.
    """

    def __init__(self, heartbeats: Any) -> None:
        self._heartbeats = heartbeats
        self._last_heartbeats: dict[int, tuple[int, float]] = {}  # by row: value, and time of its last change
        self._checked = 0.0

    def hung(self, rows: set[int]) -> list[int]:
        """Return those of `rows` whose heartbeat has stopped for HANG_SECONDS; called about once a second."""
        now = time.monotonic()
        if now - self._checked > HANG_SECONDS / 2:
            self._last_heartbeats.clear()  # this process itself was suspended, perhaps with all others
        self._checked = now
        for row in set(self._last_heartbeats) - rows:
            del self._last_heartbeats[row]
        for row in rows:
            heartbeat = self._heartbeats[row]
            if row not in self._last_heartbeats or self._last_heartbeats[row][0] != heartbeat:
                self._last_heartbeats[row] = (heartbeat, now)
        hung = [row for row in rows if now - self._last_heartbeats[row][1] > HANG_SECONDS]
        for row in hung:
            del self._last_heartbeats[row]
        return hung


def _startup_error(receiver: Any) -> str | None:
    """Return the reason why a process could not start; None if it serves."""
    try:
        reason: str | None = receiver.recv()
    except EOFError:  # killed, or ended by an exception that it printed
        return ""
    return reason and f" ({reason})"


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """Yield a socket that becomes readable on SIGINT or SIGTERM, which have no other effect meanwhile."""
    wakeup_socket, sender = socket.socketpair()
    sender.setblocking(False)
    previous_handlers = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    previous_wakeup = signal.set_wakeup_fd(sender.fileno())
    try:
        yield wakeup_socket
    finally:
        signal.set_wakeup_fd(previous_wakeup)
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
        wakeup_socket.close()
        sender.close()


def _run_worker(config: ServiceConfig, listener: socket.socket, shared: SharedMemory, row: int, sender: Any) -> None:
    """Run one worker process of a service."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent sends SIGTERM
    exit_with_parent()  # otherwise workers of a killed service would keep its port
    try:
        options = {} if config.foreign is None else asdict(config.foreign)
        predictor = Predictor(config.model, threads=1, detector=config.yunet, unsure=config.unsure, **options)
    except FeredgeError as error:
        sender.send(str(error))
        return
    serve_process(config, listener, predictor, shared=shared, row=row, on_ready=lambda: sender.send(None))
