"""Variant names: parsing and rejection."""

from __future__ import annotations

import pytest

from feredge.errors import RecipeError
from feredge.recipes.variant import Variant, parse


@pytest.mark.parametrize(
    ("name", "variant"),
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
def test_valid_names_are_parsed(name: str, variant: Variant) -> None:
    """Guards the grammar, and the variant that quantization-aware training starts from."""
    assert parse(name) == variant
    assert variant.base == name.removesuffix("-qat").replace("qat", "dense")


def test_the_mirror_variant_has_the_weights_of_dense() -> None:
    """Guards its passes and calibration, which are those of the dense files."""
    assert parse("dense-mirror") == Variant("dense")


@pytest.mark.parametrize(
    "name",
    (
        *("", "pruned", "pruned-0", "pruned-100", "pruned-080", "pruned-80-", "clustered-1", "clustered-16-qat"),
        *("qat-80", "sparse-80", "channels-96", "Pruned-80", "pruned-80-qat-qat", "dense-1", "dense-qat"),
    ),
)
def test_invalid_names_are_rejected(name: str) -> None:
    """Guards the names of artifacts, which state the compression."""
    with pytest.raises(RecipeError, match="expected a variant dense, dense-mirror, pruned-1 to pruned-99"):
        parse(name)
