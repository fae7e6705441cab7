"""Progress of a fuzz target, in a file that is replaced after each batch of cases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class State:
    """Progress of a target.

    Attributes:
        next: number of the next case.
        answered, refused: numbers of cases.
        reached: cases by parser.
        failures: outcomes by case number.
        timed_out: the case whose first attempt took too long.
    """

    next: int = 0
    answered: int = 0
    refused: int = 0
    seconds: float = 0.0
    reached: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    timed_out: int | None = None

    @classmethod
    def read(cls, path: Path) -> State:
        """Read what `write` wrote; a new state where there is no file."""
        return cls(**json.loads(path.read_text())) if path.exists() else cls()

    def write(self, path: Path) -> None:
        """Write the state atomically."""
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(self), indent=1))
        part.replace(path)

    def add(self, line: Mapping[str, Any]) -> None:
        """Count a finished case."""
        self.next = line["case"] + 1
        for name in line["reached"]:
            self.reached[name] = self.reached.get(name, 0) + 1
        if line["outcome"] in ("answered", "refused"):
            setattr(self, line["outcome"], getattr(self, line["outcome"]) + 1)
        else:
            self.failures[str(line["case"])] = line["outcome"]
