"""A table of labels that grows picture by picture, and goes on after it was stopped.

Rows go into `<name>.part`, a csv file; `<name>.part.json` beside it says how far it is safe: how many pictures and
how many bytes. Whatever was written after that (by a process that was killed) is cut off when the same job starts
again. The note is written before the first row, so a part without one is somebody else's file, and stays. When all
pictures are through, the part takes the table's place, as csv or converted to Parquet.

Names need not be text. A csv keeps their bytes; Parquet has no place for them, and gets `\\xe9` for a byte 233.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from feredge import files
from feredge.errors import PictureError, RunError
from feredge.inference.face import PictureResult

NO_FACE = "no face found"
SAFE_EVERY = 1.0  # seconds between two notes of how far it is
NOTE_LIMIT = 4096  # bytes; a note has some 200


@dataclass(frozen=True)
class Job:
    """What is done to which pictures; a part of a table belongs to one job.

    Attributes:
        pictures: their paths, in order.
        classes: the network's class names.
        settings: all else that changes a row: the model's digest, options.
    """

    pictures: Sequence[str]
    classes: tuple[str, ...]
    settings: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all three, in hexadecimal."""
        digest = hashlib.sha256(json.dumps([self.classes, self.settings], sort_keys=True).encode())
        for picture in self.pictures:
            digest.update(b"\0" + os.fsencode(picture))
        return digest.hexdigest()


def columns(classes: Sequence[str]) -> list[str]:
    """Return the table's columns: one row a face; a picture without faces has one row with an error."""
    fixed = ["picture", "face", "label", "confidence", "x", "y", "width", "height"]
    return [*fixed, *(f"p_{name}" for name in classes), "error"]


def rows(picture: str, answer: PictureResult, classes: int) -> list[list[Any]]:
    """Return a picture's rows: a row a face, or one that says why there is none. Probabilities have 6 digits."""
    if isinstance(answer, PictureError) or not answer:
        error = str(answer) if isinstance(answer, PictureError) else NO_FACE
        return [[picture, *[""] * (7 + classes), error]]
    return [
        [
            picture,
            number,
            face.label,
            f"{face.confidence:.6f}",
            *(face.box or [""] * 4),
            *(f"{score:.6f}" for score in face.scores),
            "",
        ]
        for number, face in enumerate(answer)
    ]


def to_csv(rows: list[list[Any]]) -> bytes:
    """Return rows as csv lines in UTF-8; names that are no text keep their bytes."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", errors="surrogateescape")


def lines(picture: str, answer: PictureResult, classes: int) -> bytes:
    """Return a picture's rows as csv lines: what `to_csv` makes of them, in a third of the time."""
    if isinstance(answer, PictureError) or not answer or _QUOTED.search(picture):
        return to_csv(rows(picture, answer, classes))
    line = _LINE + classes * ",%.6f" + ",\n"
    made = []
    for number, face in enumerate(answer):
        if _QUOTED.search(face.label):
            return to_csv(rows(picture, answer, classes))
        made.append(line % (picture, number, face.label, face.confidence, *(face.box or _NO_BOX), *face.scores))
    return "".join(made).encode("utf-8", errors="surrogateescape")


_LINE = "%s,%d,%s,%.6f,%s,%s,%s,%s"
_NO_BOX = ("",) * 4
_QUOTED = re.compile(r'[,"\r\n]')


@dataclass(frozen=True)
class State:
    """How far a table is: whole pictures, the bytes of their rows, and what came out of them."""

    pictures: int = 0
    bytes: int = 0
    faces: int = 0
    failed: int = 0


class Table:
    """A growing table. Use it as a context manager, `add` answers in the job's order, then `finish`.

    Args:
        path: the finished table, `.csv` or `.parquet`.
        job: what is done; a part of another job beside the table is an error.

    Attributes:
        state: how far it is; a table that goes on starts with what stands already.

    Raises:
        RunError: another suffix, something else than a file in the table's place, a part that another job or a running
            process owns, a file in the part's or the note's place that no table left there, Parquet without pyarrow.
    """

    def __init__(self, path: Path, job: Job) -> None:
        if path.suffix not in (".csv", ".parquet"):
            raise RunError(f"{path}: expected a name that ends in .csv or .parquet")
        files.check_target(path)
        if path.suffix == ".parquet":
            _need_pyarrow(path)
        self.path = path
        self.job = job
        self.part = path.with_name(path.name + ".part")
        self.note = path.with_name(path.name + ".part.json")
        self.state = State()

    def __enter__(self) -> Table:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.part}: expected a place that can be written ({error.strerror})") from error
        self._noted_state()  # a note that is somebody else's file is refused before anything is written
        self._file: BinaryIO = _open_part(self.part)
        try:
            if files.lock(self._file.fileno(), self.part) is False:  # held, or finished since it was opened here
                raise RunError(f"{self.part}: another process is writing it")
            for path in (self.note, self.path):
                files.sweep(path)
            if os.fstat(self._file.fileno()).st_size:  # a note alone is left by a kill at the very end
                self.state = self._own_state()
            else:
                self._remember()
            self._file.truncate(self.state.bytes)
        except BaseException:
            self._file.close()
            raise
        if not self.state.bytes:
            self._file.write(self._header)
            self.state = State(bytes=len(self._header))
        self._noted = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._file.closed:
            try:
                self._remember()
            finally:
                self._file.close()

    def add(self, answer: PictureResult) -> None:
        """Add the rows of the next picture."""
        state = self.state
        text = lines(self.job.pictures[state.pictures], answer, len(self.job.classes))
        if self.path.suffix == ".parquet":
            text = text.decode("utf-8", "backslashreplace").encode()
        self._file.write(text)
        failed = isinstance(answer, PictureError)
        faces = 0 if isinstance(answer, PictureError) else len(answer)
        # One assignment: a Ctrl-C before it leaves a row that the next start cuts off, and nothing between.
        self.state = State(state.pictures + 1, state.bytes + len(text), state.faces + faces, state.failed + failed)
        if time.monotonic() - self._noted > SAFE_EVERY:
            self._remember()

    def finish(self) -> None:
        """Put the finished table in its place."""
        self._remember()
        if os.name == "nt":  # an open file cannot be renamed there; elsewhere it holds the lock until all is done
            self._file.close()
        if self.path.suffix == ".parquet":
            _to_parquet(self.part, self.path, columns(self.job.classes))
            self.part.unlink()
        else:
            self.part.replace(self.path)
        self.note.unlink()
        self._file.close()

    def _remember(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        files.write_json(self.note, {"job": self.job.digest, **asdict(self.state)})
        self._noted = time.monotonic()

    @cached_property
    def _header(self) -> bytes:
        return to_csv([columns(self.job.classes)])

    def _own_state(self) -> State:
        """Return how far the part is; RunError unless its note says so, and it begins as this table does."""
        noted = self._noted_state()
        if noted is not None and (
            noted[0] != self.job.digest or os.fstat(self._file.fileno()).st_size < noted[1].bytes
        ):
            raise RunError(
                f"{self.part}: belongs to other pictures, another model or other settings; "
                f"remove it, or choose another table"
            )
        self._file.seek(0)
        if noted is None or not self._header.startswith(self._file.read(len(self._header))):
            raise RunError(
                f"{self.part}: expected nothing there, or an unfinished table with its note, found another file; "
                f"move it, or choose another table"
            )
        return noted[1]

    def _noted_state(self) -> tuple[str, State] | None:
        """Return the noted job's digest and state, None where there is no note; RunError for any other file."""
        try:
            found = files.not_own(self.note.lstat())
            if found:
                raise ValueError(found)
            with self.note.open("rb") as file:
                note = json.loads(file.read(NOTE_LIMIT))
            job, state = note.pop("job"), State(**note)
            if not isinstance(job, str) or not all(type(value) is int and value >= 0 for value in note.values()):
                raise ValueError(note)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(
                f"{self.note}: expected how far the table is, found other text; move it, or choose another table"
            ) from error
        return job, state


def _open_part(path: Path) -> BinaryIO:
    """Open a part for reading and appending, or create it. Follows no link, waits for no pipe."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"):  # each is missing on some system
        flags |= getattr(os, name, 0)
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        found = "a link" if error.errno == errno.ELOOP else error.strerror
        raise RunError(f"{path}: expected a place that can be written ({found})") from error
    if found := files.not_own(os.fstat(handle)):
        os.close(handle)
        raise RunError(f"{path}: expected nothing there, or an unfinished table of your own, found {found}")
    return os.fdopen(handle, "a+b")


def _need_pyarrow(path: Path) -> None:
    try:
        import pyarrow.parquet  # type: ignore[import-not-found,import-untyped]  # noqa: F401
    except ImportError as error:
        raise RunError(f"{path}: a Parquet table needs `pip install pyarrow`; .csv needs nothing") from error


def _to_parquet(part: Path, path: Path, columns: list[str]) -> None:
    """Convert piece by piece: the table may be larger than memory."""
    import pyarrow  # type: ignore[import-not-found,import-untyped]
    import pyarrow.csv  # type: ignore[import-not-found,import-untyped]
    import pyarrow.parquet

    text, whole = pyarrow.string(), pyarrow.int32()
    kinds = {"picture": text, "face": whole, "label": text, "error": text}
    kinds |= dict.fromkeys(("x", "y", "width", "height"), whole)
    options = pyarrow.csv.ConvertOptions(
        column_types={name: kinds.get(name, pyarrow.float32()) for name in columns}, strings_can_be_null=False
    )
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
    with (
        files.replacing(path) as temporary,
        pyarrow.csv.open_csv(part, convert_options=options, parse_options=parsing) as reader,
        pyarrow.parquet.ParquetWriter(temporary, reader.schema) as writer,
    ):
        for batch in reader:
            writer.write_batch(batch)
