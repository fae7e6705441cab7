"""Whether a C library fits the memory of common boards."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from feredge.dataclass_io import nearest
from feredge.errors import ArtifactError

BOARDS_FILE = Path(__file__).with_name("boards.toml")
STACK_BYTES = 4096
CODE_BYTES = 8 << 10
"""Allowed for the kernels that one network needs; `nano` takes 2.6 KB on a Cortex-M4, compiled by gcc with -O2."""


@dataclass(frozen=True)
class Board:
    """A microcontroller board; `source` is the vendor's page with its memory."""

    key: str
    name: str
    core: str
    ram_kb: int
    flash_kb: int
    source: str


@dataclass(frozen=True)
class Need:
    """Memory that a library needs, in bytes, beside the rest of the firmware.

    Attributes:
        ram: the arena, one image and a stack of STACK_BYTES.
        flash: weights, tables and CODE_BYTES.
    """

    ram: int
    flash: int

    @classmethod
    def of(cls, arena_bytes: int, constant_bytes: int, image_bytes: int) -> Need:
        """Return the need of a library."""
        return cls(arena_bytes + image_bytes + STACK_BYTES, constant_bytes + CODE_BYTES)

    def lacking(self, board: Board) -> str:
        """Return what a board lacks: `RAM 12.3 KB, flash 4.0 KB`; empty if the library fits."""
        missing = {"RAM": self.ram - (board.ram_kb << 10), "flash": self.flash - (board.flash_kb << 10)}
        return ", ".join(f"{name} {bytes_ / 1024:.1f} KB" for name, bytes_ in missing.items() if bytes_ > 0)


def boards() -> dict[str, Board]:
    """Return the known boards by key."""
    return {key: Board(key, **row) for key, row in tomllib.loads(BOARDS_FILE.read_text(encoding="utf-8")).items()}


def require_fit(key: str, need: Need) -> None:
    """Raise ArtifactError for an unknown board, or one that a library does not fit, with how much is lacking."""
    by_key = boards()
    if key not in by_key:
        raise ArtifactError(f"expected a board ({', '.join(by_key)}), found {key!r:.60}{nearest(key, list(by_key))}")
    board = by_key[key]
    if lacking := need.lacking(board):
        raise ArtifactError(
            f"{board.name}: expected {need.ram / 1024:.1f} KB of RAM and {need.flash / 1024:.1f} KB of flash, "
            f"found {board.ram_kb} and {board.flash_kb}; lacking: {lacking}"
        )


def fit_table(need: Need) -> str:
    """Return a Markdown table of all boards, those with the most RAM first."""
    rows = [
        f"| [{board.name}]({board.source}) | `{board.key}` | {board.core} | {board.ram_kb:,} | {board.flash_kb:,} "
        f"| {'no: lacks ' + need.lacking(board) if need.lacking(board) else 'yes'} |"
        for board in sorted(boards().values(), key=lambda board: (-board.ram_kb, board.key))
    ]
    head = "| board | `--board` | core | RAM KB | flash KB | fits |\n| --- | --- | --- | ---: | ---: | --- |"
    return "\n".join([head, *rows])
