"""A resumable table of classified faces, written picture by picture.

Rows go into `<name>.part`, a csv file; `<name>.part.json` holds its state: the numbers of pictures and bytes known
to be on disk. When a killed job is resumed, later bytes are truncated. The state file is written before the first row,
so a `.part` file without one was not written by feredge and is not touched. At the end the `.part` file replaces the
table, as csv or converted to Parquet.

File names need not be UTF-8. A csv keeps their bytes; Parquet cannot, and gets `\\xe9` for a byte 233.
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

NO_FACE_ERROR = "no face found"
STATE_SAVE_SECONDS = 1.0  # between two writes of the state file
STATE_FILE_BYTES_LIMIT = 4096  # a state file has about 200


@dataclass(frozen=True)
class Job:
    """The inputs of a table; an unfinished table can be resumed only by an equal job.

    Attributes:
        pictures: their paths, in order.
        classes: the network's class names.
        settings: everything else that affects the rows: the model's digest, options.
    """

    pictures: Sequence[str]
    classes: tuple[str, ...]
    settings: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all fields, in hexadecimal."""
        digest = hashlib.sha256(json.dumps([self.classes, self.settings], sort_keys=True).encode())
        for picture in self.pictures:
            digest.update(b"\0" + os.fsencode(picture))
        return digest.hexdigest()


def columns(classes: Sequence[str]) -> list[str]:
    """Return the table's column names."""
    fixed = ["picture", "face", "label", "confidence", "x", "y", "width", "height"]
    return [*fixed, *(f"p_{name}" for name in classes), "error"]


def rows(picture: str, result: PictureResult, classes: int) -> list[list[Any]]:
    """Return a picture's rows: one per face, or one with an error if there is none. Probabilities have 6 digits."""
    if isinstance(result, PictureError) or not result:
        error = str(result) if isinstance(result, PictureError) else NO_FACE_ERROR
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
        for number, face in enumerate(result)
    ]


def to_csv(rows: list[list[Any]]) -> bytes:
    """Return rows as csv lines in UTF-8; file names that are not UTF-8 keep their bytes."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", errors="surrogateescape")


def csv_lines(picture: str, result: PictureResult, classes: int) -> bytes:
    """Return a picture's rows as csv lines: equal to `to_csv(rows(...))`, in a third of the time."""
    if isinstance(result, PictureError) or not result or _NEEDS_QUOTES.search(picture):
        return to_csv(rows(picture, result, classes))
    template = _CSV_LINE + classes * ",%.6f" + ",\n"
    table_lines = []
    for number, face in enumerate(result):
        if _NEEDS_QUOTES.search(face.label):
            return to_csv(rows(picture, result, classes))
        table_lines.append(
            template % (picture, number, face.label, face.confidence, *(face.box or _EMPTY_BOX), *face.scores)
        )
    return "".join(table_lines).encode("utf-8", errors="surrogateescape")


_CSV_LINE = "%s,%d,%s,%.6f,%s,%s,%s,%s"
_EMPTY_BOX = ("",) * 4
_NEEDS_QUOTES = re.compile(r'[,"\r\n]')


@dataclass(frozen=True)
class TableState:
    """Progress of a table: complete pictures, the file's bytes up to the last of them, faces, failed pictures."""

    pictures: int = 0
    bytes: int = 0
    faces: int = 0
    failed: int = 0


class Table:
    """A table that is being written: a context manager; `add` results in the job's order, then `finish`.

    Args:
        path: the finished table, `.csv` or `.parquet`.
        job: the inputs; an unfinished table of another job is an error.

    Attributes:
        state: progress; after a resumption, including the earlier rows.

    Raises:
        RunError: another suffix, no regular file at `path`, an unfinished table of another job or of a running
            process, an unrelated file in place of the `.part` or state file, Parquet without pyarrow.
    """

    def __init__(self, path: Path, job: Job) -> None:
        if path.suffix not in (".csv", ".parquet"):
            raise RunError(f"{path}: expected a name that ends in .csv or .parquet")
        files.check_target(path)
        if path.suffix == ".parquet":
            _require_pyarrow(path)
        self.path = path
        self._is_parquet = path.suffix == ".parquet"
        self.job = job
        self.part = path.with_name(path.name + ".part")
        self.state_file = path.with_name(path.name + ".part.json")
        self.state = TableState()

    def __enter__(self) -> Table:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.part}: expected a writable path ({error.strerror})") from error
        self._read_state()  # an unrelated state file is refused before anything is written
        self._file: BinaryIO = _open_part(self.part)
        try:
            if files.lock(self._file.fileno(), self.part) is False:  # locked, or replaced since it was opened here
                raise RunError(f"{self.part}: another process is writing it")
            for path in (self.state_file, self.path):
                files.remove_leftovers(path)
            if os.fstat(self._file.fileno()).st_size:  # a kill in `finish` can leave only the state file
                self.state = self._resume_state()
            else:
                self._save_state()
            self._file.truncate(self.state.bytes)
        except BaseException:
            self._file.close()
            raise
        if not self.state.bytes:
            self._file.write(self._header)
            self.state = TableState(bytes=len(self._header))
        self._saved_at = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._file.closed:
            try:
                self._save_state()
            finally:
                self._file.close()

    def add(self, result: PictureResult) -> None:
        """Add the rows of the next picture."""
        state = self.state
        text = csv_lines(self.job.pictures[state.pictures], result, len(self.job.classes))
        if self._is_parquet:
            text = text.decode("utf-8", "backslashreplace").encode()
        self._file.write(text)
        failed = isinstance(result, PictureError)
        faces = 0 if isinstance(result, PictureError) else len(result)
        # A single assignment: after a Ctrl-C before it, the row is truncated on resumption.
        self.state = TableState(state.pictures + 1, state.bytes + len(text), state.faces + faces, state.failed + failed)
        if time.monotonic() - self._saved_at > STATE_SAVE_SECONDS:
            self._save_state()

    def finish(self) -> None:
        """Replace any existing table at `path` by the finished one."""
        self._save_state()
        if os.name == "nt":  # an open file cannot be renamed there; elsewhere it holds the lock to the end
            self._file.close()
        if self._is_parquet:
            _to_parquet(self.part, self.path, columns(self.job.classes))
            self.part.unlink()
        else:
            self.part.replace(self.path)
        self.state_file.unlink()
        self._file.close()

    def _save_state(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        files.write_json(self.state_file, {"job": self.job.digest, **asdict(self.state)})
        self._saved_at = time.monotonic()

    @cached_property
    def _header(self) -> bytes:
        return to_csv([columns(self.job.classes)])

    def _resume_state(self) -> TableState:
        """Return the state of the `.part` file; RunError unless its job and header are this table's."""
        saved = self._read_state()
        if saved is not None and (
            saved[0] != self.job.digest or os.fstat(self._file.fileno()).st_size < saved[1].bytes
        ):
            raise RunError(
                f"{self.part}: was started with other pictures, another model or other settings; "
                f"remove it, or choose another table"
            )
        self._file.seek(0)
        if saved is None or not self._header.startswith(self._file.read(len(self._header))):
            raise RunError(
                f"{self.part}: expected no file, or an unfinished table with its state file, found another file; "
                f"move it, or choose another table"
            )
        return saved[1]

    def _read_state(self) -> tuple[str, TableState] | None:
        """Return the job digest and state in the state file, None if there is none; RunError for any other file."""
        try:
            problem = files.ownership_problem(self.state_file.lstat())
            if problem:
                raise ValueError(problem)
            with self.state_file.open("rb") as file:
                fields = json.loads(file.read(STATE_FILE_BYTES_LIMIT))
            job, state = fields.pop("job"), TableState(**fields)
            if not isinstance(job, str) or not all(type(value) is int and value >= 0 for value in fields.values()):
                raise ValueError(fields)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(
                f"{self.state_file}: expected the state of a table, found other text; move it, or choose another table"
            ) from error
        return job, state


def _open_part(path: Path) -> BinaryIO:
    """Open or create a `.part` file for reading and appending, without following links or blocking on pipes."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"):  # each is missing on some platforms
        flags |= getattr(os, name, 0)
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        problem = "a link" if error.errno == errno.ELOOP else error.strerror
        raise RunError(f"{path}: expected a writable path ({problem})") from error
    if problem := files.ownership_problem(os.fstat(handle)):
        os.close(handle)
        raise RunError(f"{path}: expected no file, or an unfinished table of your own, found {problem}")
    return os.fdopen(handle, "a+b")


def _require_pyarrow(path: Path) -> None:
    try:
        import pyarrow.parquet  # type: ignore[import-not-found,import-untyped]  # noqa: F401
    except ImportError as error:
        raise RunError(f"{path}: a Parquet table needs `pip install pyarrow`; .csv needs nothing") from error


def _to_parquet(part: Path, path: Path, columns: list[str]) -> None:
    """Convert csv to Parquet in batches: the table may be larger than memory."""
    import pyarrow  # type: ignore[import-not-found,import-untyped]
    import pyarrow.csv  # type: ignore[import-not-found,import-untyped]
    import pyarrow.parquet

    text, int_type = pyarrow.string(), pyarrow.int32()
    kinds = {"picture": text, "face": int_type, "label": text, "error": text}
    kinds |= dict.fromkeys(("x", "y", "width", "height"), int_type)
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
