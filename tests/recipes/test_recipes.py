"""Recipes: round trips, validation and error messages."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import feredge.recipes as recipes
from feredge.errors import RecipeError
from feredge.recipes.schema import Augmentation, Network, Recipe, Schedule, Training


def _error_message(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        recipes.load(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message.removeprefix(str(path))


@pytest.mark.parametrize("name", recipes.names())
def test_every_built_in_recipe_loads(name: str) -> None:
    """Guards the built-in recipes: valid keys and values, and the file's stem is the name."""
    assert recipes.load(name).name == name


def test_an_empty_recipe_has_all_defaults(tmp_path: Path) -> None:
    """Guards the defaults: an empty file is a complete recipe, named after its file."""
    (tmp_path / "plain.toml").write_text("")
    assert recipes.load(tmp_path / "plain.toml") == Recipe(name="plain")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.floats(1e-6, 10.0),
    st.lists(st.tuples(st.integers(1, 64), st.integers(1, 3)), min_size=1, max_size=4),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_a_dumped_recipe_loads_equal(tmp_path: Path, rate: float, stages: list[tuple[int, int]], name: str) -> None:
    """Guards resuming, which compares the run folder's recipe with the requested one, floats bit by bit."""
    channels, blocks = zip(*stages, strict=True)
    recipe = Recipe(
        name=name,
        network=Network(channels=tuple(channels), blocks=tuple(blocks)),
        training=Training(learning_rate=rate),
    )
    path = tmp_path / "recipe.toml"
    path.write_text(recipes.dump(recipe), encoding="utf-8")
    assert recipes.load(path) == recipe


def test_an_unknown_recipe_suggests_the_nearest() -> None:
    """Guards the message for a misspelt name."""
    with pytest.raises(RecipeError, match="unknown recipe 'nanno'; did you mean 'nano'"):
        recipes.load("nanno")
    with pytest.raises(RecipeError, match=r"known are .*nano"):
        recipes.load("qqqqqq")


def test_an_unknown_key_suggests_the_nearest(tmp_path: Path) -> None:
    """Guards against a misspelt key that is silently ignored, in a section or at the top level."""
    assert (
        _error_message(tmp_path, "[training]\nepoch = 3") == ": training: unknown key 'epoch'; did you mean 'epochs'?"
        "; tools/migrate rewrites older files"
    )
    assert "did you mean 'network'" in _error_message(tmp_path, "[networks]\nstem = 3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[training]\nepochs = '3'", "training: epochs: expected int, found '3'"),
        ("[training]\nepochs = true", "training: epochs: expected int, found True"),
        ("[training]\nlearning_rate = nan", "training: learning_rate: expected a finite number, found nan"),
        ("[training]\nweight_decay = inf", "weight_decay: expected a finite number, found inf"),
        (f"seed = {'9' * 5000}", "expected TOML (Exceeds the limit"),
        (f"name = {'[' * 100_000}", "expected TOML (maximum recursion depth exceeded"),
        (
            f"[training]\nlearning_rate = {10**400}",
            "training: learning_rate: expected a number of 64 bits, found one of 1329",
        ),
        ("[training]\noptimizer = 'lion'", "optimizer: expected one of sgd, adam, nadam, found 'lion'"),
        ("[training]\nwarmup_epochs = 9\nepochs = 3", "training.warmup_epochs from 0 to training.epochs"),
        ("[training]\nseed = -1", "seeds from 0 to 4294967295"),
        ("[data]\nseed = 4294967296", "seeds from 0 to 4294967295"),
        ("[data]\nholdout = 0.9", "data.holdout from 0 to 0.5"),
        ("[network]\nchannels = 3", "network: channels: expected a list, found 3"),
        ("[network]\nchannels = [3, 4]\nblocks = [1]", "one entry of network.blocks for each"),
        ("[network]\nstem = 0", "network channels and blocks of at least 1"),
        ("[data]\nclasses = ['happy']", "data.classes of at least two different names"),
        ("[data]\nclasses = ['happy', 'a = sad + ']", "data.classes of names, or name = a + b"),
        ("[data]\nclasses = ['happy', 'a = happy + sad']", "each class of the source once"),
        ("[data]\nshares = [0.5, 0.4]", "two or three data.shares above 0 that add up to 1"),
        ("[data]\nsplit = 'randon'", "expected one of given, merged, random, found 'randon'"),
        ("[network]\nname = 'tuned-cnn'\nstem = 16", "only its own keys in tuned-cnn"),
        ("[network]\nname = 'convolutional'\nchannels = [8]", "one entry of network.kernels for each"),
        ("[network]\nname = 'convolutional'\nchannels = [8]\nkernels = [3]\nstem = 16", "only its own keys"),
        ("[network]\ndense = [8]", "network.kernels and dense in convolutional only"),
        ("[network]\nname = 'custom'", "network.builder, as module:function, in custom only"),
        ("[network]\nname = 'custom'\nbuilder = 'x.py'", "network.builder, as module:function, in custom only"),
        ("[network]\nbuilder = 'a.b:c'", "network.builder, as module:function, in custom only"),
        ("[network]\nkernel = 4", "network.kernel and kernels of 1, 3, 5 or 7"),
        (
            "[network]\npool = 'weighted'\n[augmentation]\nprogressive_sizes = [40, 48]",
            "no progressive_sizes, and a crop_size that",
        ),
        ("[network]\npool = 'weighted'\nstem_stride = 0", "network.stem_stride 1 or 2"),
        (
            "[network]\npool = 'weighted'\n[augmentation]\ncrop_size = 24",
            "no progressive_sizes, and a crop_size that keeps",
        ),
        ("[network]\nstandardize = true", "network.standardize in a network whose first layer has no padding: study"),
        ("[network]\ninput_channels = 0", "network.input_channels from 1 to 4"),
        ("[schedule]\nlr_factor = 1.0", "schedule.lr_factor between 0 and 1"),
        ("[schedule]\nmin_lr = 1.0", "schedule.min_lr from 0 to training.learning_rate"),
        ("[training]\nseed = 4294967295\nrepeats = 2", "seeds from 0 to 4294967295"),
        ("[augmentation]\nzoom = 1.0", "augmentation.zoom from 0 to under 1"),
        ("[compression]\nvariants = []", "at least one of compression.variants"),
        ("[export]\nfiles = []", "at least one of export.files"),
        ("[compression]\nvariants = ['pruned']", "expected a variant dense, dense-mirror, pruned-1 to pruned-99"),
        ("[export]\nfiles = ['int4.onnx']", "export.files: unknown 'int4.onnx'"),
        ("[export]\nopset = 19", "export.opset from 13 to 18"),
        ("training = 3", "training: expected a table, found 3"),
        ("[training", "expected TOML"),
    ],
)
def test_invalid_values_are_rejected(tmp_path: Path, text: str, expected: str) -> None:
    """Guards each rule: rejected before any slow work, in one line that names the key."""
    assert expected in _error_message(tmp_path, text)


def test_files_that_are_not_recipes_are_rejected(tmp_path: Path) -> None:
    """Guards missing files and binary ones."""
    with pytest.raises(RecipeError, match="cannot be read"):
        recipes.load(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="expected TOML"):
        recipes.load(tmp_path / "b.toml")


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_recipe_or_an_error(tmp_path: Path, data: bytes) -> None:
    """Guards the reader against arbitrary contents: RecipeError is its only exception."""
    path = tmp_path / "any.toml"
    path.write_bytes(data)
    try:
        recipes.load(path)
    except RecipeError as error:
        assert "\n" not in str(error)


def test_groups_of_classes(tmp_path: Path) -> None:
    """Guards the grammar of `data.classes`: names, sums of names, and spaces anywhere."""
    (tmp_path / "r.toml").write_text('[data]\nclasses = ["happy", " bad=sad +angry "]')
    assert recipes.load(tmp_path / "r.toml").data.groups == {"happy": ("happy",), "bad": ("sad", "angry")}
    assert recipes.load("nano").data.groups == {}


@pytest.mark.parametrize(
    ("schedule", "uses_metrics", "uses_validation"),
    [
        (Schedule(), False, False),
        (Schedule(monitor="train_loss", keep_weights="best"), True, False),
        (Schedule(early_stopping_patience=3), True, True),
        (Schedule(early_stopping_patience=3, early_stopping_monitor="train_accuracy"), True, False),
        (Schedule(early_stopping_patience=3, early_stopping_monitor="train_accuracy", lr_patience=2), True, True),
        (Schedule(early_stopping_patience=3, early_stopping_monitor="train_accuracy", keep_weights="best"), True, True),
        (Schedule(early_stopping_monitor="validation_loss", monitor="train_loss", keep_weights="best"), True, False),
    ],
)
def test_which_metrics_a_training_depends_on(schedule: Schedule, uses_metrics: bool, uses_validation: bool) -> None:
    """Guards `chosen_on`: a metric that nothing depends on has selected nothing."""
    assert (schedule.uses_metrics, schedule.uses_validation) == (uses_metrics, uses_validation)


def test_added_keys_leave_older_digests_unchanged() -> None:
    """Guards run folders and checkpoints: `added` keys that a recipe does not set are not in its plain values.

    The digest is that of a network of these settings before the keys were added.
    """
    plain = ["augmentation.crop_size=0", "augmentation.full_image_epochs=0", "augmentation.interpolation=linear"]
    milder = ["training.weight_decay=1e-4", "augmentation.scale=0.15", "augmentation.rotate=10", "augmentation.erase=0"]
    older = ["network.stem=32", "network.pool=average", "training.epochs=60", *plain, *milder]
    nano = recipes.load("nano", overrides=older)
    sections = ("data", "network", "training", "augmentation")
    first = "4caab831e8de3cec137d95ce00f9d49f7964cf7b1cf1f9e8356bbfba90eb2d7c"
    assert nano.digest(*sections) == nano.digest(*sections, "schedule") == first
    assert "schedule" not in nano.to_json() and "name" not in nano.to_json()["network"]
    changed = recipes.load("nano", overrides=[*older, "schedule.keep_weights=best", "network.input_channels=3"])
    assert changed.to_json()["network"]["input_channels"] == 3 and changed.digest(*sections, "schedule") != first


def test_a_digest_depends_on_its_sections_only() -> None:
    """Guards reuse: a changed augmentation changes its own section's digest and no other."""
    nano = recipes.load("nano")
    other = dataclasses.replace(nano, augmentation=Augmentation(rotate=1.0))
    assert nano.digest("network", "training") == other.digest("network", "training")
    assert nano.digest("augmentation") != other.digest("augmentation")
