"""Search spaces: what they draw, and what is wrong in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial
from tiny_space import TINY_SPACE, write_space

from feredge.errors import RecipeError
from feredge.recipes.schema import Recipe
from feredge.search import space

ONE = {"choices": [1]}


def draws(loaded: space.Space, count: int) -> list[Recipe]:
    """Return recipes that are drawn at random; those whose values exclude each other are left out."""
    study = optuna.create_study(sampler=RandomSampler(1))
    recipes = []
    for _ in range(count):
        try:
            recipes.append(loaded.draw(study.ask()))
        except RecipeError:
            continue
    return recipes


@pytest.mark.parametrize("name", space.names())
def test_built_in_spaces_draw_recipes(name: str) -> None:
    """Guards the built-in spaces against keys and values that no recipe has."""
    loaded = space.load(name)
    recipes = draws(loaded, 30)
    assert len(recipes) > 25 and len({json.dumps(recipe.to_json()) for recipe in recipes}) > 20
    assert {recipe.name for recipe in recipes} == {name} and loaded.epochs == recipes[0].training.epochs


def test_lists_are_as_long_as_each_other(tmp_path: Path) -> None:
    """Guards blocks of stages that are not there."""
    recipes = draws(space.load(write_space(tmp_path / "tiny.toml")), 20)
    assert {len(recipe.network.channels) for recipe in recipes} == {1, 2}
    assert all(len(recipe.network.channels) == len(recipe.network.blocks) for recipe in recipes)
    assert {channel for recipe in recipes for channel in recipe.network.channels} == {8, 16}
    assert all(0.003 <= recipe.training.learning_rate <= 0.3 for recipe in recipes)


def test_a_condition_decides_what_is_drawn(tmp_path: Path) -> None:
    """Guards a value whose condition does not hold: it is the base recipe's."""
    training = {
        "optimizer": {"choices": ["sgd", "adam"]},
        "momentum": {"low": 0.1, "high": 0.5, "when": {"training.optimizer": "sgd"}},
    }
    loaded = space.load(write_space(tmp_path / "tiny.toml", training=training))
    for recipe in draws(loaded, 20):
        assert (recipe.training.momentum == 0.9) == (recipe.training.optimizer == "adam")


def test_choices_may_be_lists(tmp_path: Path) -> None:
    """Guards values that Optuna's storages cannot hold."""
    network = {
        "channels": {"choices": [[8, 16], [8]]},
        "blocks": {"length": "network.channels", "item": {"low": 1, "high": 1}},
    }
    loaded = space.load(write_space(tmp_path / "tiny.toml", network=network))
    assert loaded.draw(
        FixedTrial({"network.channels": "[8]", "network.blocks[0]": 1, "training.learning_rate": 0.1})
    ).network.channels == (8,)


def test_overrides_replace_values_and_dimensions(tmp_path: Path) -> None:
    """Guards `--set`, and the digest by which another space is recognized."""
    path = write_space(tmp_path / "tiny.toml")
    fixed = space.load(path, overrides=["training.learning_rate=0.1", "training.epochs=5", "search.min_epochs=2"])
    assert "training.learning_rate" not in fixed.dimensions and fixed.epochs == 5 and fixed.settings.min_epochs == 2
    assert fixed.digest != space.load(path).digest == space.load(path).digest


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"network": {"stemm": {"low": 1, "high": 2}}}, "unknown key 'stemm'; did you mean 'stem'"),
        ({"netwrk": {"stem": {"low": 1, "high": 2}}}, "unknown key 'netwrk'; did you mean 'network'"),
        ({"network": {"stem": {"low": 8, "high": 4}}}, "network.stem: expected low up to high, found the empty range"),
        ({"network": {"stem": {"low": 8}}}, "network.stem: expected high, found none"),
        ({"network": {"stem": {"low": 8, "high": 16, "stp": 2}}}, "unexpected key 'stp'; did you mean 'step'"),
        ({"network": {"stem": {"low": 8.0, "high": 16.0}}}, "stem: expected int, found 8.0"),
        ({"network": {"stem": {"choices": []}}}, "expected different values, found []"),
        ({"network": {"pool": {"choices": ["average", "max"]}}}, "expected one of average, weighted, found 'max'"),
        ({"training": {"learning_rate": {"low": 0.0, "high": 1.0, "log": True}}}, "expected a range above 0"),
        ({"network": {"stem": {"low": 4, "high": 8, "when": {"network.poool": 1}}}}, "unknown key 'network.poool'"),
        ({"network": {"blocks": {"length": "network.pool", "item": ONE}}}, "expected the key of a list"),
        ({"network": {"blocks": {"length": {"low": 0, "high": 2}, "item": ONE}}}, "expected lengths from 1 to 16"),
        ({"network": None, "training": None}, "expected at least one range or choice, found none"),
        ({"search": {"recipe": "nanno"}}, "unknown recipe 'nanno'; did you mean 'nano'"),
        ({"search": {}}, "search: expected recipe, found none"),
        ({"search": {"recipe": "nano", "reduction_factor": 1}}, "expected a reduction_factor from 2 to 100"),
        ({"training": 3}, "expected sections of a recipe, found the value 'training'"),
    ],
)  # fmt: skip
def test_an_invalid_space_is_one_line(tmp_path: Path, sections: dict[str, Any], message: str) -> None:
    """Guards hours of searching against a key that was mistyped, and against ranges without a value."""
    path = write_space(tmp_path / "tiny.toml", **sections)
    with pytest.raises(RecipeError) as caught:
        space.load(path)
    assert (message in str(caught.value) and str(path) in str(caught.value)) or "recipe" in message


def test_a_reference_stands_before(tmp_path: Path) -> None:
    """Guards conditions on values that are not drawn yet."""
    network = {"blocks": TINY_SPACE["network"]["blocks"], "channels": TINY_SPACE["network"]["channels"]}
    with pytest.raises(RecipeError, match=r"network\.blocks: expected network\.channels before it, found it after"):
        space.load(write_space(tmp_path / "tiny.toml", network=network))


def test_an_unknown_space_suggests_a_name(tmp_path: Path) -> None:
    """Guards typing errors in a name, and files that are not TOML."""
    with pytest.raises(RecipeError, match="unknown search space 'residuall'; did you mean 'residual'"):
        space.load("residuall")
    with pytest.raises(RecipeError, match="expected a search space, cannot be read"):
        space.load(tmp_path / "none.toml")
    (tmp_path / "no.toml").write_text("[network")
    with pytest.raises(RecipeError, match="expected TOML"):
        space.load(tmp_path / "no.toml")
