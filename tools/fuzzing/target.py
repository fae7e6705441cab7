"""A fuzz target: one kind of file, its seed files, and what opens it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environment

from feredge.errors import FeredgeError

Corpus = dict[str, bytes]
"""Valid files by name, of which cases are mutations."""
Run = Callable[[Path, bytes], object]
"""Opens one case, from its file or its bytes; raises FeredgeError where it is refused."""
NANO_MODEL = environment.ROOT / "models" / "nano"


@dataclass(frozen=True)
class Target:
    """A fuzz target.

    Attributes:
        group: targets of one group run in children of one process.
        cases: default number of cases; measured so that each parser is reached at least 1,000 times.
        parsers: names of PARSERS_BY_NAME that the cases must reach.
        corpus: makes the valid files, in a folder that it may use.
        prepare: makes the function that opens cases, in a child process and a folder of its own.
        batch: number of cases of one child.
    """

    name: str
    group: str
    cases: int
    parsers: tuple[str, ...]
    corpus: Callable[[Path], Corpus]
    prepare: Callable[[Path], Run]
    batch: int = 250


def raise_last_refusal(*calls: Callable[[], Any]) -> None:
    """Make every call, and raise the last FeredgeError among them."""
    refusal = None
    for call in calls:
        try:
            call()
        except FeredgeError as error:
            refusal = error
    if refusal is not None:
        raise refusal
