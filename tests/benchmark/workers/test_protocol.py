"""Messages between harness and worker: round trips, and truncated messages."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from feredge.benchmark.workers import protocol

RANDOM_MESSAGES = st.dictionaries(
    st.text(max_size=9), st.one_of(st.none(), st.integers(), st.text(max_size=9)), max_size=3
)
ARRAY_DTYPES = st.sampled_from([np.uint8, np.float32, np.int64])
RANDOM_ARRAYS = st.dictionaries(
    st.text(max_size=5),
    ARRAY_DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_side=0))),
    max_size=3,
)


@given(message=RANDOM_MESSAGES, values=RANDOM_ARRAYS)
def test_messages_round_trip(message: dict[str, object], values: dict[str, np.ndarray]) -> None:
    """Guards dtypes, shapes (empty ones too) and order, for two messages in a row."""
    stream = io.BytesIO()
    protocol.send(stream, message, values)
    protocol.send(stream, {"next": 1})
    stream.seek(0)
    received_message, received = protocol.receive(stream)
    assert received_message == message and received.keys() == values.keys()
    for name, array in values.items():
        assert received[name].dtype == array.dtype
        np.testing.assert_array_equal(received[name], array)
    assert protocol.receive(stream) == ({"next": 1}, {})


def test_views_are_sent_as_contiguous_arrays() -> None:
    """Guards slices with gaps, whose memory is not their content."""
    stream, grid = io.BytesIO(), np.arange(24).reshape(4, 6)
    protocol.send(stream, {}, {"view": grid[::2, ::-1]})
    stream.seek(0)
    np.testing.assert_array_equal(protocol.receive(stream)[1]["view"], grid[::2, ::-1])


@given(fraction=st.floats(0, 1, exclude_max=True))
def test_a_truncated_message_is_an_end_of_file(fraction: float) -> None:
    """Guards against taking a partial response for a complete one, when a worker dies while it sends."""
    stream = io.BytesIO()
    protocol.send(stream, {"operation": "predict"}, {"images": np.zeros((3, 4), np.uint8)})
    whole = stream.getvalue()
    with pytest.raises(EOFError):
        protocol.receive(io.BytesIO(whole[: int(fraction * len(whole))]))
