"""Connections within limits: uvicorn's HTTP protocol, with bounds of header bytes, header time and idle time.

Why uvicorn: granian 2.8 bounds the time and bytes of headers, but leaves a connection open that sends nothing, and has
no limit an address; hypercorn bounds keep-alive only. uvicorn bounds the fewest of them by itself, but its protocol is
a plain asyncio class on httptools, so that one subclass adds what is missing at the place where bytes arrive, without a
second process or a copy of the data. All connections of a kind have the same time, so one timer a process looks at the
oldest of them: a request costs two dictionary entries.

431 answers headers that are too large, 408 headers that come too slowly, 503 one request or connection
too many. A connection that has sent nothing is closed without an answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from array import array
from functools import partial
from ipaddress import ip_address
from typing import Any

import uvicorn  # type: ignore[import-not-found]
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # type: ignore[import-not-found]

from feredge.serve.limits import ADDRESS_SLOTS, Limits

SWEEP_SECONDS = 0.5
DESCRIPTOR_RESERVE = 64  # file descriptors for all but connections
# Requests under way beyond the pictures that may wait: those whose bodies are still coming in.
UNFINISHED_REQUESTS = 64
PIPELINE_REQUESTS = 64  # that may wait behind one on a connection; uvicorn would read on for ever
REASONS = {408: "Request Timeout", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}


class AddressCounts:
    """Open connections of each client address, over all processes of a service.

    Each process writes a row of its own in shared memory, and all rows are summed: no lock is needed. A slot is chosen
    by a keyed hash of the address; two addresses that fall into one slot count as one, which a client cannot bring
    about without the key. Of IPv6 the first 64 bits count, as a client commonly has all addresses of such a network.

    Args:
        key: the same in all processes, secret.
        rows: as many rows of ADDRESS_SLOTS unsigned 16-bit numbers as processes; this process only unless given.
        row: the row of this process.
    """

    def __init__(self, key: bytes = b"", rows: Any = None, row: int = 0) -> None:
        self._key = key or os.urandom(16)
        self._all = memoryview(array("H", bytes(2 * ADDRESS_SLOTS)) if rows is None else rows).cast("B").cast("H")
        self._own = self._all[row * ADDRESS_SLOTS : (row + 1) * ADDRESS_SLOTS]
        for slot in range(ADDRESS_SLOTS):  # a process that was killed holds no connections
            self._own[slot] = 0

    def _slot(self, address: str) -> int:
        digest = hashlib.blake2b(_network(address), key=self._key, digest_size=2).digest()
        return int.from_bytes(digest, "little") % ADDRESS_SLOTS

    def add(self, address: str, limit: int) -> bool:
        """Count one more connection of an address; False where it has `limit` already."""
        slot = self._slot(address)
        if sum(self._all[slot::ADDRESS_SLOTS]) >= limit:
            return False
        self._own[slot] += 1
        return True

    def remove(self, address: str) -> None:
        """Count one connection less."""
        self._own[self._slot(address)] -= 1


def _network(address: str) -> bytes:
    """Return the bytes by which an address is counted."""
    try:
        parsed = ip_address(address)
    except ValueError:  # a transport without a peer
        return address.encode()
    return parsed.packed if parsed.version == 4 or parsed.ipv4_mapped else parsed.packed[:8]


class ConnectionGuard:
    """What all connections of one process share: limits, deadlines, counts.

    Args:
        limits: of this process.
        addresses: counts of client addresses, over all processes.
        proxy: address of a proxy whose `X-Forwarded-For` names the client; None trusts nobody's.
    """

    def __init__(self, limits: Limits, addresses: AddressCounts | None = None, proxy: str | None = None) -> None:
        self.limits = limits
        self.addresses = addresses or AddressCounts()
        self.proxy = proxy
        self.connections = min(limits.connections, _descriptors() - DESCRIPTOR_RESERVE)
        self.requests = limits.waiting + UNFINISHED_REQUESTS
        # Each is in the order of its deadlines, as all in it have the same time.
        self.headers: dict[LimitedConnection, float] = {}
        self.writes: dict[LimitedConnection, float] = {}
        self._sweeping = False

    def start(self, loop: asyncio.AbstractEventLoop, connections: set[LimitedConnection]) -> None:
        """Begin to look for deadlines that have passed."""
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(SWEEP_SECONDS, self._sweep, loop, connections)

    def _sweep(self, loop: asyncio.AbstractEventLoop, connections: set[LimitedConnection]) -> None:
        now = time.monotonic()
        for connection in connections:
            if connection.transport.is_closing():  # it waits for the client to take what was written, without a limit
                self.writes.setdefault(connection, now + self.limits.body_seconds)
        for waiting in (self.headers, self.writes):
            for connection in [one for one, deadline in _until(waiting, now)]:
                connection.expire(slow_reader=waiting is self.writes)
        loop.call_later(SWEEP_SECONDS, self._sweep, loop, connections)


def _until(waiting: dict[LimitedConnection, float], now: float) -> Any:
    """Yield what has passed; stops at the first that has not."""
    for item in waiting.items():
        if item[1] > now:
            return
        yield item


def _descriptors() -> int:
    """Return how many files this process may open, raised as far as it may be."""
    try:
        import resource
    except ImportError:  # Windows: sockets are no files there
        return 1 << 20
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
        except (OSError, ValueError):  # macOS has another bound beside the one it names
            pass
    return most if soft == resource.RLIM_INFINITY else soft


class LimitedConnection(HttpToolsProtocol):  # type: ignore[misc]
    """One connection, within the limits of its guard."""

    def __init__(self, *arguments: Any, guard: ConnectionGuard, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.guard = guard
        self.in_headers = True  # or before them
        self.header_bytes = 0
        self.address: str | None = None  # as it is counted

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        guard, limits = self.guard, self.guard.limits
        guard.start(self.loop, self.connections)
        if len(self.connections) > guard.connections:
            if not guard.headers:
                transport.abort()  # all others are in the middle of a request
                return
            next(iter(guard.headers)).transport.abort()
        guard.headers[self] = time.monotonic() + limits.header_seconds
        peer = self.client[0] if self.client else ""
        if limits.connections_per_address is not None and peer != guard.proxy and not self.count(peer):
            self.refuse(503)

    def count(self, address: str) -> bool:
        """Count this connection as one of an address, if it may have one more."""
        limit = self.guard.limits.connections_per_address
        if address == self.address or limit is None:
            return True
        if self.address is not None:  # a proxy's connection carries requests of many clients
            self.guard.addresses.remove(self.address)
            self.address = None
        if not self.guard.addresses.add(address, limit):
            return False
        self.address = address
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.guard.headers.pop(self, None)
        self.guard.writes.pop(self, None)
        if self.address is not None:
            self.guard.addresses.remove(self.address)
            self.address = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        before = self.in_headers
        if before and self not in self.guard.headers:
            # the first byte after an answer; a lone line end counts too, for uvicorn stops its timer at any byte
            self.guard.headers[self] = time.monotonic() + self.guard.limits.header_seconds
        if before:
            self.header_bytes += len(data)
        super().data_received(data)
        # where the headers began behind a body in the same data, they are counted from the next data on
        if before and self.in_headers and self.header_bytes > self.guard.limits.header_bytes:
            self.refuse(431)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= PIPELINE_REQUESTS:
            raise ValueError("too many requests at once")  # the parser stops, and uvicorn answers 400 and closes
        self.in_headers = False
        guard = self.guard
        guard.headers.pop(self, None)
        self.app = self.config.loaded_app
        if self.header_bytes > guard.limits.header_bytes:  # or a body came with them
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > guard.limits.header_bytes:
                self.app = partial(_refuse, 431)
        if len(self.tasks) >= guard.requests or (guard.proxy is not None and not self.count(self._forwarded_address())):
            self.app = partial(_refuse, 503)
        super().on_headers_complete()

    def _forwarded_address(self) -> str:
        """Return the address that the proxy itself saw: the last of `X-Forwarded-For`; earlier ones are claims."""
        peer = self.client[0] if self.client else ""
        if peer != self.guard.proxy:
            return peer
        said = [value for name, value in self.headers if name == b"x-forwarded-for"]
        try:
            return str(ip_address(said[-1].decode("latin-1").rpartition(",")[2].strip()))
        except (IndexError, ValueError):
            return peer

    def on_message_complete(self) -> None:
        self.in_headers = True
        self.header_bytes = 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.guard.writes.setdefault(self, time.monotonic() + self.guard.limits.body_seconds)

    def resume_writing(self) -> None:
        self.guard.writes.pop(self, None)
        super().resume_writing()

    def expire(self, *, slow_reader: bool) -> None:
        """End the connection after its time has passed."""
        self.guard.headers.pop(self, None)
        self.guard.writes.pop(self, None)
        if slow_reader or not self.header_bytes:
            self.transport.abort()
        elif self.cycle is not None and not self.cycle.response_complete:  # reading is paused behind that request
            self.guard.headers[self] = time.monotonic() + self.guard.limits.header_seconds
        else:
            self.refuse(408)

    def refuse(self, status: int) -> None:
        """Answer with a status and close, unless another answer is on its way, which this would get into."""
        self.guard.headers.pop(self, None)
        if self.cycle is None or self.cycle.response_complete:
            body = _error(status)
            self.transport.write(
                b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (status, REASONS[status].encode(), len(body), body)
            )
        self.transport.close()


def _error(status: int) -> bytes:
    return b'{"error": "%b"}' % REASONS[status].lower().encode()


async def _refuse(status: int, scope: Any, receive: Any, send: Any) -> None:
    """Answer a request without reading its body."""
    body = _error(status)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def server_config(app: Any, guard: ConnectionGuard, grace: int) -> uvicorn.Config:
    """Return how uvicorn serves an app within a guard's limits; `grace` seconds to answer what came in at the end."""
    return uvicorn.Config(
        app,
        http=partial(LimitedConnection, guard=guard),
        lifespan="on",
        log_level="error",  # a warning for each 503 would make overload worse
        access_log=False,
        proxy_headers=False,  # uvicorn would trust any client at 127.0.0.1
        timeout_keep_alive=guard.limits.keep_alive_seconds,
        timeout_graceful_shutdown=grace,
        server_header=False,
        ws="none",
    )
