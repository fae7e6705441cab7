"""Warm starts: the initial outputs are those of the other network, and the run records its digest."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tiny_training import RECIPE, epochs_of, stop_in_the_second, stripes, with_training

from feredge import data
from feredge.compress.batch_norms import fold_batchnorms
from feredge.errors import RunError
from feredge.importing.from_onnx import load_trained
from feredge.recipes.schema import Network
from feredge.run import RunFolder
from feredge.train import channels, load_model, train
from feredge.train.networks import build_core, make_predict_function
from feredge.train.warm_start import check_start, initialize, match_widths

FURTHER_ROUND = with_training(RECIPE, epochs=2, warmup_epochs=0.0, learning_rate=0.01)


def test_initial_outputs_are_those_of_the_start(finished: RunFolder) -> None:
    """Guards the inserted batch normalization: an identity, whatever images its statistics are estimated on."""
    images = data.split(stripes(), RECIPE.data).train.images
    core = build_core(RECIPE.network, size=16, classes=7)
    start = load_trained(finished.path)
    initialize(core, start, start.classes, images[:40])
    expected = load_model(finished).predict(images, verbose=0)
    # Each batch normalization divides and multiplies by the same deviation, in float32.
    np.testing.assert_allclose(make_predict_function(core)(images), expected, atol=1e-4)


def test_for_other_classes_the_last_layer_keeps_its_weights(finished: RunFolder) -> None:
    """Guards a network for other classes: all layers but the last are initialized."""
    core = build_core(RECIPE.network, size=16, classes=3)
    fresh = core.get_layer("logits").get_weights()
    start = load_trained(finished.path)
    initialize(core, start, ("a", "b", "c"), stripes().images[:40])
    np.testing.assert_array_equal(core.get_layer("logits").get_weights()[0], fresh[0])
    np.testing.assert_array_equal(core.get_layer("stem_conv").get_weights()[0], start.weights["stem_conv"][0])


def test_average_pooling_initializes_weighted_pooling(finished: RunFolder) -> None:
    """Guards weighted pooling: an average initializes it, and it does not initialize an average."""
    images = stripes().images[:40]
    weighted = dataclasses.replace(RECIPE.network, pool="weighted")
    start, core = load_trained(finished.path), build_core(weighted, size=16, classes=7)
    check_start(core, start)
    initialize(core, start, start.classes, images)
    expected = load_model(finished).predict(images, verbose=0)
    np.testing.assert_allclose(make_predict_function(core)(images), expected, atol=1e-4)  # as above

    changed = core.get_layer("places").get_weights()
    changed[0] += np.arange(64, dtype=np.float32).reshape(8, 8, 1, 1) / 64
    core.get_layer("places").set_weights(changed)
    further = dataclasses.replace(start, core=fold_batchnorms(core))
    initialize(core, further, start.classes, images)
    np.testing.assert_array_equal(core.get_layer("places").get_weights()[0], changed[0])
    with pytest.raises(RunError, match="whose pooling is an average, found a weighted one"):
        check_start(build_core(RECIPE.network, size=16, classes=7), further)


def test_a_further_round_starts_from_the_first(finished: RunFolder, tmp_path: Path) -> None:
    """Guards fine-tuning: a lower loss than without a start, resuming, and the recorded digest."""
    start = load_trained(finished.path)
    whole = train(FURTHER_ROUND, stripes(), tmp_path / "whole", start=start)
    first, fresh = (float(epochs_of(run)[0][2]) for run in (whole, finished))
    assert first < fresh and whole.training_record()["started_from"] == start.digest

    with pytest.raises(KeyboardInterrupt):
        train(FURTHER_ROUND, stripes(), tmp_path / "run", start=start, progress=stop_in_the_second)
    with pytest.raises(RunError, match="belongs to another recipe or other data"):
        train(FURTHER_ROUND, stripes(), tmp_path / "run")
    assert (
        train(FURTHER_ROUND, stripes(), tmp_path / "run", start=start).training_record()["weights"]
        == whole.training_record()["weights"]
    )
    with pytest.raises(RunError, match=r"was trained with first weights [0-9a-f]{12}, found none"):
        train(FURTHER_ROUND, stripes(), tmp_path / "run")


def test_a_wider_network_initializes_a_narrower_one(finished: RunFolder, tmp_path: Path) -> None:
    """Guards which channels are kept, for other classes too: not those that are zero, all others unchanged."""
    wide = load_model(finished).get_layer("core")
    for name in ("stage1_block1_1_norm", "stage2_block1_1_norm"):
        norm = wide.get_layer(name)
        gain, shift, *statistics = norm.get_weights()
        nonzero = np.arange(len(gain)) % 2
        norm.set_weights([gain * nonzero, shift * nonzero, *statistics])
    start = dataclasses.replace(load_trained(finished.path), core=fold_batchnorms(wide))
    faces = data.split(stripes(), RECIPE.data).train
    target = fold_batchnorms(build_core(RECIPE.network, size=16, classes=3))
    inner = {"stage1_block1_1_conv": 4, "stage2_block1_1_conv": 8}
    core = channels.with_widths(target, inner)
    check_start(core, start)
    matched = match_widths(start, core, faces, seed=1)
    assert {name: matched.weights[name][0].shape[-1] for name in inner} == inner
    np.testing.assert_allclose(
        make_predict_function(matched.core)(faces.images), make_predict_function(start.core)(faces.images), atol=1e-5
    )
    assert match_widths(start, target, faces, seed=1) is start

    narrow_recipe = dataclasses.replace(
        FURTHER_ROUND, network=dataclasses.replace(RECIPE.network, stem=6, channels=(6, 12))
    )
    run = train(narrow_recipe, stripes(), tmp_path / "narrow", start=start)
    assert run.training_record()["started_from"] == start.digest
    assert load_model(run).get_layer("core").get_layer("stem_conv").weights[0].shape == (3, 3, 1, 6)


def test_extra_blocks_are_initialized_as_identity(finished: RunFolder) -> None:
    """Guards a deeper network: the same outputs, extra blocks with gradients, and back without them."""
    images = stripes().images[:40]
    start, deeper = load_trained(finished.path), dataclasses.replace(RECIPE.network, blocks=(2, 3))
    core = build_core(deeper, size=16, classes=7)
    check_start(core, start)
    initialize(core, start, start.classes, images)
    expected = load_model(finished).predict(images, verbose=0)
    np.testing.assert_allclose(make_predict_function(core)(images), expected, atol=1e-4)  # as above
    gain, shift, mean, variance = core.get_layer("stage2_block3_1_norm").get_weights()
    assert (gain == 1).all() and (shift == 0).all() and mean.all() and (variance > 0).all()

    shallow, deeper_start = (
        build_core(RECIPE.network, size=16, classes=7),
        dataclasses.replace(start, core=fold_batchnorms(core)),
    )
    check_start(shallow, deeper_start)
    initialize(shallow, deeper_start, start.classes, images)
    np.testing.assert_allclose(make_predict_function(shallow)(images), expected, atol=1e-4)
    narrow = build_core(dataclasses.replace(RECIPE.network, stem=6, channels=(6, 12)), size=16, classes=7)
    initialize(
        narrow,
        match_widths(deeper_start, narrow, data.split(stripes(), RECIPE.data).train, seed=1),
        start.classes,
        images,
    )


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            dataclasses.replace(RECIPE.network, stem=16, channels=(16, 16)),
            r"whose stem_conv is \(3, 3, 1, 16\), or has more channels, found \(3, 3, 1, 8\)",
        ),
        (dataclasses.replace(RECIPE.network, stem=4), r"stage1_block1_shortcut_conv is \(1, 1, 4, 8\), .* found none"),
        (
            dataclasses.replace(RECIPE.network, channels=(8, 16, 16), blocks=(1, 1, 1)),
            r"stage3_block1_1_conv is \(3, 3, 16, 16\), .* found none",
        ),
        (
            dataclasses.replace(RECIPE.network, input_channels=3),
            "expected to start from a network with 3 input channels, found one with 1",
        ),
        (Network(name="study-2022-ann"), "expected a residual network to start from another"),
    ],
)
def test_a_start_of_other_layers_is_refused(
    finished: RunFolder, tmp_path: Path, network: Network, message: str
) -> None:
    """Guards against partly initialized networks; no run folder is made."""
    recipe = dataclasses.replace(FURTHER_ROUND, network=network)
    with pytest.raises(RunError, match=message):
        train(recipe, stripes(), tmp_path / "run", start=load_trained(finished.path))
    assert not (tmp_path / "run").exists()
