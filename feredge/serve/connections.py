"""Connection limits: uvicorn's HTTP protocol with limits of header bytes, header time, idle time and connections.

Why uvicorn: granian 2.8 limits the time and bytes of headers, but not silent connections or connections per address;
hypercorn limits keep-alive only. uvicorn has the fewest limits, but its protocol is a plain asyncio class on httptools,
to which one subclass adds them where bytes arrive, without a proxy process or a copy of the data. All connections in
one state have the same timeout, so a periodic sweep checks only the oldest: a request costs two dictionary entries.

Status codes: 431 for headers that are too large, 408 for slow headers, 503 for too many requests or connections. A
connection that has sent nothing is closed without a response.
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
DESCRIPTOR_RESERVE = 64  # file descriptors not available to connections
UNFINISHED_REQUESTS = 64  # requests in progress in addition to `Limits.waiting`: their bodies are being received
PIPELINE_REQUESTS = 64  # pipelined requests of one connection; uvicorn itself has no limit
REASON_PHRASES = {408: "Request Timeout", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}


class AddressCounts:
    """Counts open connections per client address, over all processes of a service.

    Each process writes its own row in shared memory, and rows are summed: no lock is needed. A keyed hash maps an
    address to a slot; addresses in the same slot are counted together, but clients cannot provoke collisions without
    the key. IPv6 addresses are counted by their first 64 bits, because a client usually owns such a network.

    Args:
        key: secret, the same in all processes.
        rows: ADDRESS_SLOTS unsigned 16-bit numbers for each process; None for this process only.
        row: index of this process's row.
    """

    def __init__(self, key: bytes = b"", rows: Any = None, row: int = 0) -> None:
        self._key = key or os.urandom(16)
        self._all = memoryview(array("H", bytes(2 * ADDRESS_SLOTS)) if rows is None else rows).cast("B").cast("H")
        self._own = self._all[row * ADDRESS_SLOTS : (row + 1) * ADDRESS_SLOTS]
        for slot in range(ADDRESS_SLOTS):  # the connections of a killed process are closed
            self._own[slot] = 0

    def _slot(self, address: str) -> int:
        digest = hashlib.blake2b(_network(address), key=self._key, digest_size=2).digest()
        return int.from_bytes(digest, "little") % ADDRESS_SLOTS

    def add(self, address: str, limit: int) -> bool:
        """Count one more connection of an address; False if it has `limit` already."""
        slot = self._slot(address)
        if sum(self._all[slot::ADDRESS_SLOTS]) >= limit:
            return False
        self._own[slot] += 1
        return True

    def remove(self, address: str) -> None:
        """Count one connection less."""
        self._own[self._slot(address)] -= 1


def _network(address: str) -> bytes:
    """Return the network under which an address is counted."""
    try:
        parsed = ip_address(address)
    except ValueError:  # a transport without a peer
        return address.encode()
    return parsed.packed if parsed.version == 4 or parsed.ipv4_mapped else parsed.packed[:8]


class ConnectionGuard:
    """The shared state of a process's connections: limits, deadlines, counts.

    Args:
        limits: of this process.
        addresses: connection counts per client address, over all processes.
        proxy: address of the trusted proxy whose `X-Forwarded-For` names the client; None trusts no proxy.
    """

    def __init__(self, limits: Limits, addresses: AddressCounts | None = None, proxy: str | None = None) -> None:
        self.limits = limits
        self.addresses = addresses or AddressCounts()
        self.proxy = proxy
        self.connections = min(limits.connections, _descriptors() - DESCRIPTOR_RESERVE)
        self.requests = limits.waiting + UNFINISHED_REQUESTS
        # Connections by deadline: insertion order is deadline order, because timeouts are equal.
        self.headers: dict[LimitedConnection, float] = {}
        self.writes: dict[LimitedConnection, float] = {}
        self._sweeping = False

    def start(self, loop: asyncio.AbstractEventLoop, connections: set[LimitedConnection]) -> None:
        """Start the periodic check of deadlines."""
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(SWEEP_SECONDS, self._sweep, loop, connections)

    def _sweep(self, loop: asyncio.AbstractEventLoop, connections: set[LimitedConnection]) -> None:
        now = time.monotonic()
        for connection in connections:
            if connection.transport.is_closing():  # it may wait for ever for the client to read
                self.writes.setdefault(connection, now + self.limits.body_seconds)
        for deadlines in (self.headers, self.writes):
            for connection in [connection for connection, _ in _expired(deadlines, now)]:
                connection.expire(slow_reader=deadlines is self.writes)
        loop.call_later(SWEEP_SECONDS, self._sweep, loop, connections)


def _expired(deadlines: dict[LimitedConnection, float], now: float) -> Any:
    """Yield the connections whose deadline has passed: a prefix of `deadlines`."""
    for item in deadlines.items():
        if item[1] > now:
            return
        yield item


def _descriptors() -> int:
    """Raise the limit of open files as far as allowed, up to 65,536; return it."""
    try:
        import resource
    except ImportError:  # Windows has no limit for sockets
        return 1 << 20
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    maximum = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < maximum:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, hard))
            soft = maximum
        except (OSError, ValueError):  # macOS has a further limit
            pass
    return maximum if soft == resource.RLIM_INFINITY else soft


class LimitedConnection(HttpToolsProtocol):  # type: ignore[misc]
    """A connection within the limits of its guard."""

    def __init__(self, *arguments: Any, guard: ConnectionGuard, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.guard = guard
        self.in_headers = True  # or between requests
        self.header_bytes = 0
        self.address: str | None = None  # under which it is counted

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        guard, limits = self.guard, self.guard.limits
        guard.start(self.loop, self.connections)
        if len(self.connections) > guard.connections:
            if not guard.headers:
                transport.abort()  # no other connection is idle
                return
            next(iter(guard.headers)).transport.abort()
        guard.headers[self] = time.monotonic() + limits.header_seconds
        peer = self.client[0] if self.client else ""
        if limits.connections_per_address is not None and peer != guard.proxy and not self.count(peer):
            self.refuse(503)

    def count(self, address: str) -> bool:
        """Count this connection under an address; False if the address is at its limit."""
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
        was_in_headers = self.in_headers
        if was_in_headers and self not in self.guard.headers:
            # first byte after a response; even a line end, because uvicorn stops its keep-alive timer at any byte
            self.guard.headers[self] = time.monotonic() + self.guard.limits.header_seconds
        if was_in_headers:
            self.header_bytes += len(data)
        super().data_received(data)
        # headers that begin after a body in the same data are counted from the next data on
        if was_in_headers and self.in_headers and self.header_bytes > self.guard.limits.header_bytes:
            self.refuse(431)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= PIPELINE_REQUESTS:
            raise ValueError("too many requests at once")  # uvicorn responds with 400 and closes
        self.in_headers = False
        guard = self.guard
        guard.headers.pop(self, None)
        self.app = self.config.loaded_app
        if self.header_bytes > guard.limits.header_bytes:  # may include parts of a body
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > guard.limits.header_bytes:
                self.app = partial(_refuse, 431)
        if len(self.tasks) >= guard.requests or (guard.proxy is not None and not self.count(self._forwarded_address())):
            self.app = partial(_refuse, 503)
        super().on_headers_complete()

    def _forwarded_address(self) -> str:
        """Return the client's address by the proxy: the last of `X-Forwarded-For`; earlier ones may be forged."""
        peer = self.client[0] if self.client else ""
        if peer != self.guard.proxy:
            return peer
        forwarded = [value for name, value in self.headers if name == b"x-forwarded-for"]
        try:
            return str(ip_address(forwarded[-1].decode("latin-1").rpartition(",")[2].strip()))
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
        """End the connection after a timeout."""
        self.guard.headers.pop(self, None)
        self.guard.writes.pop(self, None)
        if slow_reader or not self.header_bytes:
            self.transport.abort()
        elif self.cycle is not None and not self.cycle.response_complete:  # reading is paused during that request
            self.guard.headers[self] = time.monotonic() + self.guard.limits.header_seconds
        else:
            self.refuse(408)

    def refuse(self, status: int) -> None:
        """Send a status and close; only close if another response is being sent."""
        self.guard.headers.pop(self, None)
        if self.cycle is None or self.cycle.response_complete:
            body = _error(status)
            self.transport.write(
                b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (status, REASON_PHRASES[status].encode(), len(body), body)
            )
        self.transport.close()


def _error(status: int) -> bytes:
    return b'{"error": "%b"}' % REASON_PHRASES[status].lower().encode()


async def _refuse(status: int, scope: Any, receive: Any, send: Any) -> None:
    """Respond with a status without reading the body."""
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
    """Return uvicorn's configuration for an app within a guard's limits; `grace` is the shutdown time in seconds."""
    return uvicorn.Config(
        app,
        http=partial(LimitedConnection, guard=guard),
        lifespan="on",
        log_level="error",  # a warning for each 503 would increase the load
        access_log=False,
        proxy_headers=False,  # uvicorn would trust any client at 127.0.0.1
        timeout_keep_alive=guard.limits.keep_alive_seconds,
        timeout_graceful_shutdown=grace,
        server_header=False,
        ws="none",
    )
