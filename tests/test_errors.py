"""Errors of feredge: one line each."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from feredge.errors import ArtifactError
from feredge.inference.runtimes import find_model


def test_a_name_with_a_newline_makes_no_second_line(tmp_path: Path) -> None:
    """Guards logs and terminals against a line that a file's name, or a library's message, made up."""
    with pytest.raises(ArtifactError) as caught:
        find_model(tmp_path / "a\nerror: b")
    assert "\n" not in str(caught.value) and "a\\nerror: b" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
