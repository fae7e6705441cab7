"""The public functions and their parameters, which only a new major version may take away.

`python tests/test_public_api.py` records those of this version in public_api.txt.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import feredge

RECORD = Path(__file__).with_name("public_api.txt")


def public_api() -> dict[str, set[str]]:
    """Return each public name with its parameters."""
    return {name: _parameters(getattr(feredge, name)) for name in feredge.__all__}


def _parameters(value: object) -> set[str]:
    if not callable(value) or (isinstance(value, type) and issubclass(value, Exception)):
        return set()
    return {name for name, one in inspect.signature(value).parameters.items() if one.kind is not one.VAR_KEYWORD}


def recorded_api() -> dict[str, set[str]]:
    """Return what public_api.txt records."""
    lines = (line.partition(":") for line in RECORD.read_text(encoding="utf-8").splitlines())
    return {name: set(parameters.split()) for name, _, parameters in lines}


def test_no_public_name_or_parameter_is_gone() -> None:
    """Guards programs that use feredge: a replaced name stays, and warns."""
    current = public_api()
    for name, parameters in recorded_api().items():
        if name not in feredge._DEPRECATED_NAMES:
            assert name in current and parameters <= current[name], name


def test_a_deprecated_name_works_and_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the way in which public names are replaced: the warning is shown at the caller's line."""
    monkeypatch.setitem(feredge._DEPRECATED_NAMES, "pruefe", "verify")
    with pytest.warns(DeprecationWarning, match=r"feredge\.pruefe is deprecated, use feredge\.verify") as warned:
        assert feredge.pruefe is feredge.verify
    assert warned[0].filename == __file__


def test_deprecated_names_have_replacements() -> None:
    """Guards the table against a replacement that is not public, or a name that still is."""
    assert set(feredge._DEPRECATED_NAMES.values()) <= set(feredge.__all__)
    assert not set(feredge._DEPRECATED_NAMES) & set(feredge.__all__)


if __name__ == "__main__":
    lines = (f"{name}: {' '.join(sorted(parameters))}".rstrip() for name, parameters in public_api().items())
    RECORD.write_text("\n".join(lines) + "\n", encoding="utf-8")
