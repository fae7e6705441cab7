"""Resource limits of the service: per request, and over all requests in progress."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from feredge.errors import RunError

SMALL_BODY = 65_536  # bytes; uvicorn buffers as many per connection anyway
SMALL_PICTURE = 400_000  # pixels: a webcam's 640 x 480, not a photograph
ADDRESS_SLOTS = 4096  # counters of client addresses, in each process


@dataclass(frozen=True)
class Limits:
    """Resource limits of one service.

    Attributes:
        bytes: of a request's body.
        pixels: of a picture, by its header.
        request_pixels: of all pictures of a request.
        pictures: in a request.
        waiting: pictures accepted and not yet classified, over all requests.
        waiting_bytes: of the bodies of all requests in progress.
        waiting_pixels: of pictures accepted and not yet classified, over all requests.
        connections: open connections; beyond it the one idle for longest is closed.
        connections_per_address: open connections of one client address; None for no limit.
        header_bytes: of a request's line and headers.
        header_seconds: from a connection's start, or a later request's first byte, to the end of its headers.
        body_seconds: to receive a request's body, and to send a response.
        keep_alive_seconds: between a response and the next request.
    """

    bytes: int = 10_000_000
    pixels: int = 25_000_000
    request_pixels: int = 50_000_000
    pictures: int = 64
    waiting: int = 256
    waiting_bytes: int = 128_000_000
    waiting_pixels: int = 400_000_000
    connections: int = 4096
    connections_per_address: int | None = None
    header_bytes: int = 32_768
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    keep_alive_seconds: int = 5

    def share(self, processes: int) -> Limits:
        """Return the limits of each of `processes`, whose sum is within these limits.

        The limit per address is not divided: its connections are counted over all processes.
        """
        return replace(
            self,
            waiting=self.waiting // processes,
            waiting_bytes=self.waiting_bytes // processes,
            waiting_pixels=self.waiting_pixels // processes,
            connections=self.connections // processes,
        )


def service_limits(
    processes: int, *, waiting_bytes: int | None = None, waiting_pixels: int | None = None, **values: Any
) -> Limits:
    """Return limits under which each of `processes` can hold the largest request.

    Args:
        processes: number of processes that share the limits.
        waiting_bytes, waiting_pixels: None for four of the largest requests per process.
        values: fields of `Limits`; a request may hold two of the largest pictures.

    Raises:
        RunError: a budget that is too small for one request.
    """
    limits = Limits(**values)
    limits = replace(limits, request_pixels=2 * limits.pixels)
    totals = {}
    for name, stated, request in (
        ("waiting bytes", waiting_bytes, limits.bytes),
        ("waiting pixels", waiting_pixels, limits.request_pixels),
    ):
        least = -(-request * 4 // 3) * processes  # large requests leave a quarter of a budget to small ones
        if stated is not None and stated < least:
            raise RunError(f"expected at least {least:,} {name} for {processes} processes, found {stated:,}")
        totals[name.replace(" ", "_")] = stated or 4 * request * processes
    return replace(limits, **totals)


class Budget:
    """An amount shared by all requests of a process; large requests leave a quarter of it to small ones.

    Otherwise a few clients with large, slow requests could block all ordinary ones. Not thread-safe: used by the event
    loop's thread only.

    Args:
        total: the amount.
        small: size up to which a request may use the last quarter.
    """

    def __init__(self, total: int, small: int) -> None:
        self.total = total
        self.small = small
        self.used = 0

    def take(self, amount: int, request: int) -> bool:
        """Reserve `amount` for a request of `request` in total; False if it does not fit."""
        if self.used + amount > (self.total if request <= self.small else self.total * 3 // 4):
            return False
        self.used += amount
        return True

    def release(self, amount: int) -> None:
        """Return a reserved amount."""
        self.used -= amount
