"""The csv parser: every dialect people have the file in, the same result as Python's csv and int(), named errors."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feredge.data import fer2013_csv
from feredge.data.csv_blocks import BLOCK_PADDING, parse_uniform_block
from feredge.data.csv_rows import IMAGE_PIXELS, parse_lines
from feredge.data.dataset import NO_LABEL
from feredge.data.fer2013_csv import CsvTable, read_csv
from feredge.errors import DataError

USAGE_NAMES = ("Training", "PublicTest", "PrivateTest")
DEFAULT_COLUMNS = ("emotion", "pixels", "Usage")
# Rows are long, so a few are enough to be slow; each example makes its own file in the one folder.
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def some_rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Return rows of random pixels of one, two and three digits, by column."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, rng.choice([10, 100, 256], (count, 1)), (count, IMAGE_PIXELS))
    return [
        {
            "emotion": str(row % 7),
            "pixels": " ".join(map(str, pixels[row].tolist())),
            "Usage": USAGE_NAMES[row % 3],
            "id": str(row * 977),
        }
        for row in range(count)
    ]


def as_csv(rows: list[dict[str, str]], columns: Sequence[str] = DEFAULT_COLUMNS, **dialect: object) -> bytes:
    """Return rows as a csv file's bytes."""
    text = io.StringIO()
    writer = csv.writer(text, **dialect)  # type: ignore[arg-type]  # values of several types
    writer.writerow(columns)
    writer.writerows([row[column] for column in columns] for row in rows)
    return text.getvalue().encode()


def read_with_csv_module(data: bytes) -> tuple[list[list[int]], list[int], list[str]]:
    """Read a whole csv with the standard library alone."""
    header, *lines = (line for line in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")) if line)
    names = [name.strip().lower() for name in header]
    rows = [dict(zip(names, line, strict=True)) for line in lines if any(cell.strip() for cell in line)]
    return (
        [[int(pixel) for pixel in row["pixels"].split()] for row in rows],
        [int(row.get("emotion", NO_LABEL)) for row in rows],
        [row.get("usage", "").strip() for row in rows],
    )


def assert_same(table: CsvTable, data: bytes) -> None:
    """Assert that a table holds what the standard library reads in `data`."""
    pixels, labels, usage = read_with_csv_module(data)
    assert table.images.dtype == np.uint8 and table.labels.dtype == np.int8
    assert table.images.reshape(len(pixels), -1).tolist() == pixels
    assert table.labels.tolist() == labels
    assert [name.lower() for name in table.usage.tolist()] == [name.lower() for name in usage]


def read(path: Path, data: bytes, *, skip_bad_rows: bool = False) -> CsvTable:
    """Write `data` to a file and read it."""
    path.write_bytes(data)
    return read_csv(path, skip_bad_rows=skip_bad_rows)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where to put a csv."""
    return tmp_path / "faces.csv"


@relaxed
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 5),
    columns=st.permutations(["emotion", "Usage", "id"]),
    column_count=st.integers(0, 3),
    at=st.integers(0, 3),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    tail=st.sampled_from([b"", b"\n", b"\r\n\r\n"]),
)
def test_round_trip(
    file: Path,
    seed: int,
    count: int,
    columns: list[str],
    column_count: int,
    at: int,
    quoting: int,
    line_end: str,
    mark: bytes,
    tail: bytes,
) -> None:
    """Guards every dialect: columns there and missing, in any order, quotes, CRLF, byte-order mark, blank lines."""
    order = columns[:column_count]
    order.insert(at, "pixels")
    data = mark + as_csv(some_rows(count, seed), order, quoting=quoting, lineterminator=line_end) + tail
    table = read(file, data)
    assert_same(table, data)
    assert table.rows.tolist() == list(range(count))
    assert table.total == count
    assert table.digest == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("columns", "dialect"),
    [
        (DEFAULT_COLUMNS, {}),
        (DEFAULT_COLUMNS, {"lineterminator": "\n"}),
        (DEFAULT_COLUMNS, {"quoting": csv.QUOTE_ALL}),
        (("emotion", "Usage", "pixels"), {}),
        (("pixels", "emotion"), {"lineterminator": "\n"}),
        (("pixels",), {"quoting": csv.QUOTE_ALL}),
        (("pixels",), {}),
        (("id", "pixels"), {}),
    ],
)
def test_ordinary_files_are_parsed_by_numpy(
    file: Path, monkeypatch: pytest.MonkeyPatch, columns: Sequence[str], dialect: dict[str, object]
) -> None:
    """Guards the speed: these dialects once fell back to Python's line by line, 20 times slower."""
    monkeypatch.setattr(fer2013_csv, "parse_lines", None)
    data = as_csv(some_rows(40), columns, **dialect)
    assert_same(read(file, data), data)


def test_spaces_after_commas(file: Path) -> None:
    """Guards the edition whose header is `emotion, Usage, pixels`, with a space after each comma."""
    data = as_csv(some_rows(4), ("emotion", "Usage", "pixels")).replace(b",", b", ")
    assert_same(read(file, data), data)


@pytest.mark.parametrize("block", [1, 4000, 9000, 50_000])
def test_blocks_do_not_show(file: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Guards the seams: rows cut by a block's end, and row numbers that are counted across blocks."""
    monkeypatch.setattr(fer2013_csv, "BLOCK_BYTES", block)
    rows = some_rows(6 if block == 1 else 30)
    data = as_csv(rows).replace(b"\n", b"\n\n", 1)
    assert_same(read(file, data), data)
    rows[-2]["emotion"] = "7"
    message = rf"row {len(rows) - 1} \(line {len(rows) + 1}\): expected an emotion from 0 to 6"
    with pytest.raises(DataError, match=message):
        read(file, as_csv(rows).replace(b"\n", b"\n\n", 1))
    rest = read(file, as_csv(rows), skip_bad_rows=True)
    assert rest.rows.tolist() == [*range(len(rows) - 2), len(rows) - 1]


BYTE_MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, 60_000),
        st.sampled_from(["replace", "insert", "delete"]),
        st.sampled_from(
            [bytes([byte]) for byte in b' ,"\n\r\t0129:aT-.\x00\xff'] + [b"  ", b",,", b"0 ", b"00", b"\n\n"]
        ),
    ),
    max_size=4,
)


def mutated(data: bytes, mutations: list[tuple[int, str, bytes]]) -> bytes:
    """Change, add or take bytes."""
    for place, kind, piece in mutations:
        at = place % len(data)
        data = data[:at] + (b"" if kind == "delete" else piece) + data[at + (kind != "insert") :]
    return data


@settings(deadline=None, max_examples=300)
@given(seed=st.integers(0, 100), mutations=BYTE_MUTATIONS, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_the_fast_way_never_disagrees_with_the_slow_one(
    seed: int, mutations: list[tuple[int, str, bytes]], quoting: int
) -> None:
    """Guards numpy's way against taking what the line-by-line way refuses, or reading it differently."""
    columns = ("emotion", "pixels", "usage")
    body = as_csv(some_rows(3, seed), quoting=quoting, lineterminator="\n").split(b"\n", 1)[1]
    block = mutated(body, mutations).removesuffix(b"\n") + b"\n"
    fast, slow = parse_uniform_block(BLOCK_PADDING + block, columns), parse_lines(block, columns)
    if fast is None:
        assert mutations  # what is not damaged must not need the slow way
        return
    assert not slow.bad_rows
    assert (fast.pixels == slow.pixels).all()
    assert fast[1:3] == slow[1:3] and fast.rows.tolist() == slow.rows.tolist()
    assert fast.row_count == slow.row_count


def test_the_fast_way_refuses_rows_that_borrow_from_each_other() -> None:
    """Guards a find of the fuzzing: a separator missing in one row and one too many in the next."""
    body = as_csv(some_rows(3), ("id", "pixels"), quoting=csv.QUOTE_ALL).split(b"\n", 1)[1]
    block = body.replace(b'"\r\n"1954"', b'\r\n"19/54"')
    assert len(block) == len(body)
    assert parse_uniform_block(BLOCK_PADDING + body, ("id", "pixels")) is not None
    assert parse_uniform_block(BLOCK_PADDING + block, ("id", "pixels")) is None


def test_the_fast_way_refuses_bad_numbers_that_keep_the_count() -> None:
    """Guards the checks that a count of separators does not make: empty, long and too large numbers."""
    good = some_rows(1)[0]["pixels"].split(" ")
    for triple in (
        ["1", "", "3"],
        ["1", "1234", "3"],
        ["1", "10000000255", "3"],
        ["1", "256", "3"],
        ["1", "1a", "3"],
    ):
        for at in (0, 1000, IMAGE_PIXELS - 3):
            pixels = " ".join([*good[:at], *triple, *good[at + 3 :]])
            block = BLOCK_PADDING + f"0,{pixels},Training\n".encode()
            assert parse_uniform_block(block, ("emotion", "pixels", "usage")) is None


@pytest.mark.parametrize("separator", [b"/", b"-", b".", b"\t", b'"'])
def test_the_fast_way_refuses_other_separators(separator: bytes) -> None:
    """Guards against reading `12/34` as two pixels because every row has as many separators."""
    body = as_csv(some_rows(2), ("pixels",)).split(b"\n", 1)[1]
    at = body.rindex(b" ")
    assert parse_uniform_block(BLOCK_PADDING + body, ("pixels",)) is not None
    assert parse_uniform_block(BLOCK_PADDING + body[:at] + separator + body[at + 1 :], ("pixels",)) is None


@relaxed
@given(data=st.binary(max_size=300))
def test_junk_raises_data_error(file: Path, data: bytes) -> None:
    """Guards the promise of one clear line for any file at all."""
    with pytest.raises(DataError, match=r"^[^\n]+$"):
        read(file, data)


@relaxed
@given(mutations=BYTE_MUTATIONS, skip=st.booleans())
def test_damaged_files_raise_data_error_or_are_read_right(
    file: Path, mutations: list[tuple[int, str, bytes]], skip: bool
) -> None:
    """Guards against anything but DataError from a file that is nearly right, header included."""
    data = mutated(as_csv(some_rows(3)), mutations)
    try:
        table = read(file, data, skip_bad_rows=skip)
    except DataError as error:
        assert "\n" not in str(error)
        return
    if table.total == len(table.rows):
        assert_same(table, data)


def csv_with(column: str, value: str) -> bytes:
    """Return a csv whose second row holds `value` in `column`."""
    rows = some_rows(3)
    rows[1][column] = value
    return as_csv(rows)


VALID_PIXELS = " ".join(["7"] * IMAGE_PIXELS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a csv with the header emotion,pixels,Usage, found an empty file"),
        (b"emotion,pixels,Usage\n", "expected rows of pixels below the header, found none"),
        (b"a,b,c\n1,2,3\n", "expected a header with pixels and any of emotion, Usage and id, found 'a,b,c'"),
        (b"label,pixels\n1,2\n", "expected a header .*, found 'label,pixels'"),
        (b"pixels,pixels\n", "expected a header .*, found 'pixels,pixels'"),
        (as_csv(some_rows(2)).split(b"\n", 1)[1], "expected a header .*, found '0,"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, "expected a header .*, found"),
        (csv_with("pixels", VALID_PIXELS[2:]), r"row 2 \(line 3\): expected 2304 pixels, found 2303"),
        (csv_with("pixels", VALID_PIXELS + " 7"), r"row 2 \(line 3\): expected 2304 pixels, found 2305"),
        (csv_with("pixels", "x" + VALID_PIXELS), r"row 2 \(line 3\): expected pixels from 0 to 255, found 'x7'"),
        (
            csv_with("pixels", VALID_PIXELS[:-1] + "256"),
            r"row 2 \(line 3\): expected pixels from 0 to 255, found '256'",
        ),
        (csv_with("pixels", VALID_PIXELS[:-1] + "-1"), r"row 2 \(line 3\): expected pixels from 0 to 255, found '-1'"),
        (
            csv_with("pixels", VALID_PIXELS[:-1] + "1.5"),
            r"row 2 \(line 3\): expected pixels from 0 to 255, found '1.5'",
        ),
        (
            csv_with("pixels", VALID_PIXELS[:-1] + "9" * 5000),
            r"row 2 \(line 3\): expected pixels from 0 to 255, found '9999",
        ),
        (csv_with("pixels", ""), r"row 2 \(line 3\): expected 2304 pixels, found 0"),
        (csv_with("emotion", "7"), r"row 2 \(line 3\): expected an emotion from 0 to 6, found '7'"),
        (csv_with("emotion", ""), r"row 2 \(line 3\): expected an emotion from 0 to 6, found ''"),
        (csv_with("Usage", "Trainin"), r"row 2 \(line 3\): expected a Usage of .*, found 'Trainin'"),
        (csv_with("Usage", 'a"b'), r"row 2 \(line 3\): expected a Usage of"),
        (as_csv(some_rows(2)) + b"\n1,2\n", r"row 3 \(line 5\): expected 3 columns, found 2"),
        (as_csv(some_rows(2)) + b"\xff\xfe,1,2\n", r"row 3 \(line 4\): expected text, found b'"),
        (as_csv(some_rows(2)) + b'"0,1,2\n', r"row 3 \(line 4\): expected comma-separated values"),
        (as_csv(some_rows(2)) + b"0" * 3_000_000, "expected rows of 2304 pixels, found a line of over 1,048,576 bytes"),
    ],
)
def test_what_is_wrong_is_named(file: Path, data: bytes, message: str) -> None:
    """Guards the error a user sees: file, row, line, expected and found."""
    with pytest.raises(DataError, match=message) as caught:
        read(file, data)
    assert str(caught.value).startswith(f"{file}: ")
    assert len(str(caught.value)) < 300 + len(str(file))


def test_bad_rows_can_be_skipped(file: Path) -> None:
    """Guards the numbering: rows keep their place in the file, bad ones are counted, blank lines are no rows."""
    rows = some_rows(6)
    rows[1]["pixels"] = "1 2 3"
    rows[4]["emotion"] = "9"
    table = read(file, as_csv(rows).replace(b"\r\n3,", b"\r\n\r\n3,", 1), skip_bad_rows=True)
    assert table.rows.tolist() == [0, 2, 3, 5]
    assert table.labels.tolist() == [0, 2, 3, 5]
    assert table.total == 6
    rows[1]["pixels"] = VALID_PIXELS
    with pytest.raises(DataError, match=r"row 5 \(line 7\)"):
        read(file, as_csv(rows).replace(b"\r\n3,", b"\r\n\r\n3,", 1))


def test_all_rows_bad(file: Path) -> None:
    """Guards skip_bad_rows against an empty data set without a word."""
    with pytest.raises(DataError, match=r"found 2 rows, all bad: expected 2304 pixels, found 1"):
        read(file, b"pixels\n1\n2\n", skip_bad_rows=True)


def test_places_that_cannot_be_read(tmp_path: Path) -> None:
    """Guards against a traceback where the path is a folder, or gone."""
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(DataError, match="cannot be read"):
            read_csv(path)


def test_real_csv(real_data: Path) -> None:
    """Guards the reading of the real file against Python's own."""
    data = (real_data / "fer2013.csv").read_bytes()
    assert_same(read_csv(real_data / "fer2013.csv"), data)
