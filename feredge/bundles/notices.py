"""Licence notices of what is inside a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from feredge.inference.artifact import Card

NOTICES_FILE = "NOTICES.txt"


@dataclass(frozen=True)
class Notice:
    """The terms of one part of a bundle.

    Attributes:
        part: what it is, and where in the bundle.
        terms: the licence's text, or where it stands.
    """

    part: str
    terms: str


def code_notice(part: str) -> Notice:
    """Return the notice of code that feredge wrote."""
    try:
        text = metadata.distribution("feredge").read_text("licenses/LICENSE")
    except metadata.PackageNotFoundError:  # run from its sources
        text = None
    return Notice(part, text or "MIT License. Copyright (c) 2026 The feredge authors")


def weights_notice(card: Card) -> Notice:
    """Return the notice of a network's weights."""
    return Notice("The network and its weights", card.licence or "No terms were stated when the network was exported.")


def notices_text(notices: Sequence[Notice]) -> bytes:
    """Return the contents of NOTICES_FILE."""
    return "\n\n".join(f"{notice.part}\n{'-' * 72}\n{notice.terms.strip()}" for notice in notices).encode() + b"\n"
