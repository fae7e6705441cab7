"""One step of training: decay, smoothing, averaging, precision, dropout."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_training import RECIPE

from feredge.keras import keras
from feredge.recipes.schema import Distillation, Network, Training
from feredge.train.fitting import Fitter, one_hot
from feredge.train.networks import compiled, weights_digest
from feredge.train.warm_start import Trained

NETWORK = Network(stem=4, stem_stride=1, channels=(4,), blocks=(1,), dropout=0.0)
BATCH = (8, 12, 12, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, BATCH, np.uint8)
TARGETS = one_hot(np.arange(8, dtype=np.int8) % 3, 3)
RATE = np.float32(0.1)


def _fitter(network: Network = NETWORK, precision: str = "float32", **training: object) -> Fitter:
    values = dataclasses.replace(RECIPE.training, label_smoothing=0.0, weight_decay=0.0, **training)  # type: ignore[arg-type]
    return Fitter(network, values, precision, batch=BATCH, classes=3)  # type: ignore[arg-type]


def _step(fitter: Fitter) -> float:
    return float(fitter.step(IMAGES, TARGETS, RATE)[0])


def test_the_same_seed_gives_the_same_steps() -> None:
    """Guards determinism inside one process, in which others may have seeded Keras."""
    digests = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(len(digests))
        fitter = _fitter(seed=seed)
        _step(fitter), _step(fitter)
        digests.append(weights_digest(fitter.core))
    assert digests[0] == digests[1] != digests[2]


def test_weight_decay_moves_kernels_only() -> None:
    """Guards batch normalization's scales and the biases, which must not be pulled to zero."""
    plain = _fitter(momentum=0.0)
    decayed = _fitter(momentum=0.0)
    decayed._training = dataclasses.replace(decayed._training, weight_decay=0.5)
    before = {variable.name: variable.numpy() for variable in plain.core.trainable_variables}
    _step(plain), _step(decayed)
    for a, b in zip(plain.core.trainable_variables, decayed.core.trainable_variables, strict=True):
        expected = -RATE * 0.5 * before[a.name] if "kernel" in a.name else 0.0 * before[a.name]
        # One float32 rounding of the weight itself, whose size is at most 2, in each of the two networks.
        np.testing.assert_allclose(b.numpy() - a.numpy(), expected, atol=1e-6)


def test_label_smoothing_spreads_the_target() -> None:
    """Guards the smoothed loss against the formula, on the first step from equal weights."""
    plain = _fitter()
    smooth = _fitter()
    smooth._training = dataclasses.replace(smooth._training, label_smoothing=0.3)
    logits = plain._logits(IMAGES).numpy().astype(np.float64)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert _step(plain) == pytest.approx(-(TARGETS * logs).sum(axis=1).mean(), rel=1e-5)
    # _logits in training mode moved nothing that a training-mode forward pass reads, so the second is the same.
    assert _step(smooth) == pytest.approx(-((0.7 * TARGETS + 0.1) * logs).sum(axis=1).mean(), rel=1e-5)


def test_average_follows_every_weight() -> None:
    """Guards the moving statistics of batch normalization, which an optimizer's own averaging leaves out."""
    fitter = _fitter(averaging=0.5)
    average = fitter.core.get_weights()
    for step in (1, 2, 3):
        _step(fitter)
        keep = min(0.5, step / (step + 9))
        average = [keep * a + (1 - keep) * w for a, w in zip(average, fitter.core.get_weights(), strict=True)]
    names = [weight.name for weight in fitter.averaged.weights]
    assert any("moving_variance" in name for name in names)
    for name, expected, found in zip(names, average, fitter.averaged.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7, err_msg=name)


def test_no_averaging_keeps_the_last_weights() -> None:
    """Guards `averaging = 0`, which must not freeze the average at its start."""
    fitter = _fitter(averaging=0.0)
    _step(fitter), _step(fitter)
    assert weights_digest(fitter.averaged) == weights_digest(fitter.core)


@pytest.mark.parametrize(("optimizer", "precision", "rate"), [("sgd", "bfloat16", 0.1), ("adam", "float32", 0.01)])
def test_learns_in_both_precisions(optimizer: str, precision: str, rate: float) -> None:
    """Guards that the step goes downhill, and that bfloat16 stays inside: weights and averages are float32."""
    fitter = _fitter(precision=precision, optimizer=optimizer)
    losses = [float(fitter.step(IMAGES, TARGETS, np.float32(rate))[0]) for _ in range(40)]
    assert losses[-1] < 0.6 * losses[0]  # eight images of noise, learnt by heart
    assert {weight.dtype for weight in fitter.core.get_weights()} == {np.dtype(np.float32)}
    assert fitter.averaged.get_layer("stem_conv").compute_dtype == "float32"


def test_dropout_is_drawn_from_the_steps_number() -> None:
    """Guards resuming with dropout: the same step drops the same features, another step others."""
    fitter = _fitter(network=dataclasses.replace(NETWORK, dropout=0.5))
    first, again = fitter._logits(IMAGES).numpy(), fitter._logits(IMAGES).numpy()
    np.testing.assert_array_equal(first, again)
    fitter._iteration.assign_add(1)
    assert not np.array_equal(fitter._logits(IMAGES).numpy(), first)


def test_images_of_another_size_train_the_same_weights() -> None:
    """Guards whole images after squares: a step on them is that of a network built for them."""
    squares = Fitter(NETWORK, RECIPE.training, "float32", batch=(8, 10, 10, 1), classes=3, size=12)
    squares.expect(BATCH)
    built = Fitter(NETWORK, RECIPE.training, "float32", batch=BATCH, classes=3)
    assert _step(squares) == _step(built)
    assert weights_digest(squares.core) == weights_digest(built.core)
    assert weights_digest(squares.averaged) == weights_digest(built.averaged)
    squares.expect((8, 10, 10, 1))
    assert np.isfinite(float(squares.step(IMAGES[:, 1:11, 1:11], TARGETS, RATE)[0]))


PUBLISHED = Network(name="study-2022-cnn")
LARGER = np.random.default_rng(0).integers(0, 256, (8, 26, 26, 1), np.uint8)


def _published(network: Network = PUBLISHED, precision: str = "float32", **options: object) -> Fitter:
    values = Training(optimizer="nadam", weight_decay=0.0, averaging=0.0)
    return Fitter(network, values, precision, batch=LARGER.shape, classes=3, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_published_networks_learn(precision: str) -> None:
    """Guards the layers' chain in both precisions, dropout and poolings among them."""
    fitter = _published(Network(name="three-class-dcnn"), precision)
    losses = [float(fitter.step(LARGER, TARGETS, np.float32(1e-3))[0]) for _ in range(25)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:3])  # eight images of noise, learnt by heart


def test_every_dropout_draws_its_own() -> None:
    """Guards resuming, and dropouts of one shape beside each other: by step and place, never one mask for two."""
    fitter = _published()
    first, again = fitter._logits(LARGER).numpy(), fitter._logits(LARGER).numpy()
    np.testing.assert_array_equal(first, again)
    ones = np.ones((4, 50), np.float32)
    masks = [fitter._dropped(ones, 0.5, place=place).numpy() for place in (0, 1, 1)]
    fitter._iteration.assign_add(1)
    masks.append(fitter._dropped(ones, 0.5, place=1).numpy())
    assert not np.array_equal(masks[0], masks[1]) and not np.array_equal(masks[2], masks[3])
    np.testing.assert_array_equal(masks[1], masks[2])
    assert not np.array_equal(fitter._logits(LARGER).numpy(), first)


def test_what_is_kept_takes_plain_gray() -> None:
    """Guards the contract for networks trained on standardised, repeated gray: the same answers, from one channel."""
    fitter = _published(Network(name="course-cnn", repeat=3), standard=(0.5, 0.25))
    fitter.step(LARGER, TARGETS, np.float32(1e-3))
    fitter.refresh()
    assert fitter.kept.input_shape == (None, 26, 26, 1) and fitter.averaged.input_shape == (None, 26, 26, 3)
    gray = LARGER.astype(np.float32) / 255
    expected = fitter.averaged(np.repeat((gray - 0.5) / 0.25, 3, axis=3)).numpy()
    # Sums of thousands of float32 products, in another order.
    np.testing.assert_allclose(fitter.kept(gray), expected, atol=1e-4)


def test_the_best_weights_come_back() -> None:
    """Guards `keep = "best"`: remembered weights are a copy that later steps do not move."""
    fitter = _published(keep_best=True)
    fitter.step(LARGER, TARGETS, RATE)
    fitter.remember()
    best = weights_digest(fitter.averaged)
    fitter.step(LARGER, TARGETS, RATE)
    assert weights_digest(fitter.averaged) != best
    fitter.recall()
    assert weights_digest(fitter.averaged) == best


def test_training_defaults_build() -> None:
    """Guards the recipe's defaults: every optimizer field is one that Keras takes."""
    Fitter(NETWORK, Training(), "float32", batch=BATCH, classes=3)


def _cross_entropy(targets: NDArray[Any], logits: NDArray[Any]) -> float:
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-(targets * logs).sum(axis=1).mean())


def test_distillation_weighs_labels_and_teacher() -> None:
    """Guards the loss of a pupil against the formula, in double precision."""
    how = Distillation(temperature=3.0, weight=0.6)
    taught = np.random.default_rng(1).normal(0, 2, (8, 3)).astype(np.float32)
    fitter = Fitter(NETWORK, RECIPE.training, "float32", batch=BATCH, classes=3, distillation=how, soft_labels=True)
    fitter._training = dataclasses.replace(fitter._training, label_smoothing=0.0)
    logits = fitter._logits(IMAGES).numpy().astype(np.float64)
    soft = np.exp(taught.astype(np.float64) / 3)
    expected = 0.4 * _cross_entropy(TARGETS, logits)
    expected += 0.6 * 9 * _cross_entropy(soft / soft.sum(axis=1, keepdims=True), logits / 3)
    loss, hits = fitter.step(IMAGES, np.stack([TARGETS, taught], axis=1), RATE)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert int(hits) == (logits.argmax(axis=1) == TARGETS.argmax(axis=1)).sum()


def test_networks_teach_what_they_see_in_a_step() -> None:
    """Guards the distance to the teachers' mean logits, of images and mirror images in turn, and its share of loss."""
    how = Distillation(temperature=3.0, teacher_weight=0.3)
    teachers = [Trained(_fitter(seed=seed).core, ("a", "b", "c"), "") for seed in (5, 6)]
    training = dataclasses.replace(RECIPE.training, label_smoothing=0.0)
    fitter = Fitter(NETWORK, training, "float32", batch=BATCH, classes=3, distillation=how, teachers=teachers)
    for side in (IMAGES, IMAGES[:, :, ::-1], IMAGES):
        said = [np.log(compiled(teacher.core)(side[..., 0]).astype(np.float64)) for teacher in teachers]
        logits = fitter._logits(IMAGES).numpy().astype(np.float64)
        soft = np.exp(sum(said) / 2 / 3)
        expected = 0.7 * _cross_entropy(TARGETS, logits)
        expected += 0.3 * 9 * _cross_entropy(soft / soft.sum(axis=1, keepdims=True), logits / 3)
        assert float(fitter.step(IMAGES, TARGETS, RATE)[0]) == pytest.approx(expected, rel=1e-5)
