"""Trainings that start from a trained network: it is that network at first, and the run says where it began."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tiny_training import RECIPE, epochs_of, stop_in_the_second, stripes, with_training

from feredge import data
from feredge.compress.batch_norms import fold_norms
from feredge.errors import RunError
from feredge.importing.from_onnx import load_trained
from feredge.recipes.schema import Network
from feredge.run import RunFolder
from feredge.train import channels, load_model, train
from feredge.train.networks import build_core, compiled
from feredge.train.warm_start import begin, check, narrowed

MORE = with_training(RECIPE, epochs=2, warmup=0.0, rate=0.01)


def test_it_begins_as_the_network_it_starts_from(finished: RunFolder) -> None:
    """Guards the normalizations that are put back: whatever images tell their statistics, the answers stay."""
    images = data.split(stripes(), RECIPE.data).train.images
    core = build_core(RECIPE.network, size=16, classes=7)
    begun = load_trained(finished.path)
    begin(core, begun, begun.classes, images[:40])
    expected = load_model(finished).predict(images[..., None], verbose=0)
    # Each normalization divides and multiplies by the same deviation, in float32.
    np.testing.assert_allclose(compiled(core)(images), expected, atol=1e-4)


def test_of_other_classes_the_last_layer_is_new(finished: RunFolder) -> None:
    """Guards a network for one's own classes: what it sees is kept, what it names is not."""
    core = build_core(RECIPE.network, size=16, classes=3)
    fresh = core.get_layer("logits").get_weights()
    begun = load_trained(finished.path)
    begin(core, begun, ("a", "b", "c"), stripes().images[:40])
    np.testing.assert_array_equal(core.get_layer("logits").get_weights()[0], fresh[0])
    np.testing.assert_array_equal(core.get_layer("stem_conv").get_weights()[0], begun.weights["stem_conv"][0])


def test_an_average_starts_weights_of_places(finished: RunFolder) -> None:
    """Guards a round that learns weights of places: it begins as the average that it starts from, and not back."""
    images = stripes().images[:40]
    weighted = dataclasses.replace(RECIPE.network, pool="weighted")
    begun, core = load_trained(finished.path), build_core(weighted, size=16, classes=7)
    check(core, begun)
    begin(core, begun, begun.classes, images)
    expected = load_model(finished).predict(images[..., None], verbose=0)
    np.testing.assert_allclose(compiled(core)(images), expected, atol=1e-4)  # as above

    changed = core.get_layer("places").get_weights()
    changed[0] += np.arange(64, dtype=np.float32).reshape(8, 8, 1, 1) / 64
    core.get_layer("places").set_weights(changed)
    further = dataclasses.replace(begun, core=fold_norms(core))
    begin(core, further, begun.classes, images)
    np.testing.assert_array_equal(core.get_layer("places").get_weights()[0], changed[0])
    with pytest.raises(RunError, match="whose pooling is an average, found a weighted one"):
        check(build_core(RECIPE.network, size=16, classes=7), further)


def test_a_further_round_starts_where_the_first_ended(finished: RunFolder, tmp_path: Path) -> None:
    """Guards fine-tuning: lower losses than of a fresh network, the same when stopped, and a record of the start."""
    begun = load_trained(finished.path)
    whole = train(MORE, stripes(), tmp_path / "whole", start=begun)
    first, fresh = (float(epochs_of(run)[0][2]) for run in (whole, finished))
    assert first < fresh and whole.figures()["started_from"] == begun.digest

    with pytest.raises(KeyboardInterrupt):
        train(MORE, stripes(), tmp_path / "run", start=begun, progress=stop_in_the_second)
    with pytest.raises(RunError, match="belongs to another recipe or other data"):
        train(MORE, stripes(), tmp_path / "run")
    assert train(MORE, stripes(), tmp_path / "run", start=begun).figures()["weights"] == whole.figures()["weights"]
    with pytest.raises(RunError, match=r"was trained with first weights [0-9a-f]{12}, found none"):
        train(MORE, stripes(), tmp_path / "run")


def test_a_wider_network_starts_a_narrower_one(finished: RunFolder, tmp_path: Path) -> None:
    """Guards which channels are taken over, of other classes too: not those that are silent, all others as they are."""
    wide = load_model(finished).get_layer("core")
    for name in ("stage1_block1_1_norm", "stage2_block1_1_norm"):
        norm = wide.get_layer(name)
        gain, shift, *statistics = norm.get_weights()
        loud = np.arange(len(gain)) % 2
        norm.set_weights([gain * loud, shift * loud, *statistics])
    begun = dataclasses.replace(load_trained(finished.path), core=fold_norms(wide))
    faces = data.split(stripes(), RECIPE.data).train
    slim = fold_norms(build_core(RECIPE.network, size=16, classes=3))
    inner = {"stage1_block1_1_conv": 4, "stage2_block1_1_conv": 8}
    core = channels.narrowed(slim, inner)
    check(core, begun)
    found = narrowed(begun, core, faces, seed=1)
    assert {name: found.weights[name][0].shape[-1] for name in inner} == inner
    np.testing.assert_allclose(compiled(found.core)(faces.images), compiled(begun.core)(faces.images), atol=1e-5)
    assert narrowed(begun, slim, faces, seed=1) is begun

    thin = dataclasses.replace(MORE, network=dataclasses.replace(RECIPE.network, stem=6, channels=(6, 12)))
    run = train(thin, stripes(), tmp_path / "thin", start=begun)
    assert run.figures()["started_from"] == begun.digest
    assert load_model(run).get_layer("core").get_layer("stem_conv").weights[0].shape == (3, 3, 1, 6)


def test_further_blocks_change_nothing_yet(finished: RunFolder) -> None:
    """Guards a deeper start: the same answers, from blocks that a gradient reaches, and back without them."""
    images = stripes().images[:40]
    begun, deeper = load_trained(finished.path), dataclasses.replace(RECIPE.network, blocks=(2, 3))
    core = build_core(deeper, size=16, classes=7)
    check(core, begun)
    begin(core, begun, begun.classes, images)
    expected = load_model(finished).predict(images[..., None], verbose=0)
    np.testing.assert_allclose(compiled(core)(images), expected, atol=1e-4)  # as above
    gain, shift, mean, variance = core.get_layer("stage2_block3_1_norm").get_weights()
    assert (gain == 1).all() and (shift == 0).all() and mean.all() and (variance > 0).all()

    shallow, again = build_core(RECIPE.network, size=16, classes=7), dataclasses.replace(begun, core=fold_norms(core))
    check(shallow, again)
    begin(shallow, again, begun.classes, images)
    np.testing.assert_allclose(compiled(shallow)(images), expected, atol=1e-4)
    thin = build_core(dataclasses.replace(RECIPE.network, stem=6, channels=(6, 12)), size=16, classes=7)
    begin(thin, narrowed(again, thin, data.split(stripes(), RECIPE.data).train, seed=1), begun.classes, images)


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
        (dataclasses.replace(RECIPE.network, repeat=3), "expected a residual network of plain gray"),
        (Network(name="study-2022-ann"), "expected a residual network of plain gray to start from another"),
    ],
)
def test_another_network_is_no_start(finished: RunFolder, tmp_path: Path, network: Network, message: str) -> None:
    """Guards half a start; nothing is begun."""
    recipe = dataclasses.replace(MORE, network=network)
    with pytest.raises(RunError, match=message):
        train(recipe, stripes(), tmp_path / "run", start=load_trained(finished.path))
    assert not (tmp_path / "run").exists()
