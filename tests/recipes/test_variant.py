"""Names of variants: what they say, and what is no name."""

from __future__ import annotations

import pytest

from feredge.errors import RecipeError
from feredge.recipes.variant import Variant, parse


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("dense", Variant("dense")),
        ("qat", Variant("dense", quantized=True)),
        ("pruned-80", Variant("pruned", 80)),
        ("pruned-80-qat", Variant("pruned", 80, quantized=True)),
        ("clustered-16", Variant("clustered", 16)),
        ("channels-50", Variant("channels", 50)),
        ("channels-5-qat", Variant("channels", 5, quantized=True)),
    ],
)
def test_names_say_what_was_done(name: str, what: Variant) -> None:
    """Guards the grammar, and that a variant trained for int8 knows the one it starts from."""
    assert parse(name) == what
    assert what.base == name.removesuffix("-qat").replace("qat", "dense")


@pytest.mark.parametrize(
    "name",
    (
        *("", "pruned", "pruned-0", "pruned-100", "pruned-080", "pruned-80-", "clustered-1", "clustered-16-qat"),
        *("qat-80", "sparse-80", "channels-96", "Pruned-80", "pruned-80-qat-qat", "dense-1", "dense-qat"),
    ),
)
def test_other_names_are_refused(name: str) -> None:
    """Guards a file's name against promising what was never done."""
    with pytest.raises(RecipeError, match="expected a variant dense, pruned-1 to pruned-99"):
        parse(name)
