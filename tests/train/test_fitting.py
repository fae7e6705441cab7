"""The training step: weight decay, label smoothing, averaging, precision, dropout, distillation."""

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
from feredge.train.networks import make_predict_function, weights_digest
from feredge.train.warm_start import TrainedNetwork

TINY_NETWORK = Network(stem=4, stem_stride=1, channels=(4,), blocks=(1,), dropout=0.0)
BATCH_SHAPE = (8, 12, 12, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, BATCH_SHAPE, np.uint8)
TARGETS = one_hot(np.arange(8, dtype=np.int8) % 3, 3)
LEARNING_RATE = np.float32(0.1)


def _fitter(network: Network = TINY_NETWORK, precision: str = "float32", **training: object) -> Fitter:
    values = dataclasses.replace(RECIPE.training, label_smoothing=0.0, weight_decay=0.0, **training)  # type: ignore[arg-type]  # values of several types
    return Fitter(network, values, precision, batch_shape=BATCH_SHAPE, classes=3)  # type: ignore[arg-type]  # a name of a precision


def _step(fitter: Fitter) -> float:
    return float(fitter.step(IMAGES, TARGETS, LEARNING_RATE)[0])


def test_the_same_seed_gives_the_same_steps() -> None:
    """Guards determinism inside one process, in which other code may have seeded Keras."""
    digests: list[str] = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(len(digests))
        fitter = _fitter(seed=seed)
        _step(fitter), _step(fitter)
        digests.append(weights_digest(fitter.core))
    assert digests[0] == digests[1] != digests[2]


def test_weight_decay_moves_kernels_only() -> None:
    """Guards batch normalization's scales and the biases, which must not decay."""
    plain = _fitter(momentum=0.0)
    decayed = _fitter(momentum=0.0)
    decayed._training = dataclasses.replace(decayed._training, weight_decay=0.5)
    before = {variable.name: variable.numpy() for variable in plain.core.trainable_variables}
    _step(plain), _step(decayed)
    for a, b in zip(plain.core.trainable_variables, decayed.core.trainable_variables, strict=True):
        expected = -LEARNING_RATE * 0.5 * before[a.name] if "kernel" in a.name else 0.0 * before[a.name]
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
    # _logits in training mode changes moving statistics only, which training mode does not read.
    assert _step(smooth) == pytest.approx(-((0.7 * TARGETS + 0.1) * logs).sum(axis=1).mean(), rel=1e-5)


def test_average_follows_every_weight() -> None:
    """Guards the moving statistics of batch normalization, which an optimizer's own averaging leaves out."""
    fitter = _fitter(ema_decay=0.5)
    average = fitter.core.get_weights()
    for step in (1, 2, 3):
        _step(fitter)
        keep = min(0.5, step / (step + 9))
        average = [keep * a + (1 - keep) * w for a, w in zip(average, fitter.core.get_weights(), strict=True)]
    names = [weight.name for weight in fitter.averaged.weights]
    assert any("moving_variance" in name for name in names)
    for name, expected, actual in zip(names, average, fitter.averaged.get_weights(), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7, err_msg=name)


def test_no_averaging_keeps_the_last_weights() -> None:
    """Guards `averaging = 0`, which must not freeze the average at its start."""
    fitter = _fitter(ema_decay=0.0)
    _step(fitter), _step(fitter)
    assert weights_digest(fitter.averaged) == weights_digest(fitter.core)


@pytest.mark.parametrize(("optimizer", "precision", "rate"), [("sgd", "bfloat16", 0.1), ("adam", "float32", 0.01)])
def test_learns_in_both_precisions(optimizer: str, precision: str, rate: float) -> None:
    """Guards that the loss decreases, and that weights and averages are float32 with bfloat16 too."""
    fitter = _fitter(precision=precision, optimizer=optimizer)
    losses = [float(fitter.step(IMAGES, TARGETS, np.float32(rate))[0]) for _ in range(40)]
    assert losses[-1] < 0.6 * losses[0]  # eight images of noise, memorized
    assert {weight.dtype for weight in fitter.core.get_weights()} == {np.dtype(np.float32)}
    assert fitter.averaged.get_layer("stem_conv").compute_dtype == "float32"


def test_dropout_depends_on_the_step() -> None:
    """Guards resuming with dropout: the same step drops the same features, another step others."""
    fitter = _fitter(network=dataclasses.replace(TINY_NETWORK, dropout=0.5))
    first, second = fitter._logits(IMAGES).numpy(), fitter._logits(IMAGES).numpy()
    np.testing.assert_array_equal(first, second)
    fitter._iteration.assign_add(1)
    assert not np.array_equal(fitter._logits(IMAGES).numpy(), first)


def test_images_of_another_size_train_the_same_weights() -> None:
    """Guards full images after crops: a step on them equals that of a network built for them."""
    cropped = Fitter(TINY_NETWORK, RECIPE.training, "float32", batch_shape=(8, 10, 10, 1), classes=3, size=12)
    cropped.set_batch_shape(BATCH_SHAPE)
    built = Fitter(TINY_NETWORK, RECIPE.training, "float32", batch_shape=BATCH_SHAPE, classes=3)
    assert _step(cropped) == _step(built)
    assert weights_digest(cropped.core) == weights_digest(built.core)
    assert weights_digest(cropped.averaged) == weights_digest(built.averaged)
    cropped.set_batch_shape((8, 10, 10, 1))
    assert np.isfinite(float(cropped.step(IMAGES[:, 1:11, 1:11], TARGETS, LEARNING_RATE)[0]))


PUBLISHED_NETWORK = Network(name="study-2022-cnn")
LARGER_IMAGES = np.random.default_rng(0).integers(0, 256, (8, 26, 26, 1), np.uint8)


def _published(network: Network = PUBLISHED_NETWORK, precision: str = "float32", **options: object) -> Fitter:
    values = Training(optimizer="nadam", weight_decay=0.0, ema_decay=0.0)
    return Fitter(network, values, precision, batch_shape=LARGER_IMAGES.shape, classes=3, **options)  # type: ignore[arg-type]  # a name of a precision


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_published_networks_learn(precision: str) -> None:
    """Guards sequential networks in both precisions, with dropout and pooling."""
    fitter = _published(Network(name="three-class-dcnn"), precision)
    losses = [float(fitter.step(LARGER_IMAGES, TARGETS, np.float32(1e-3))[0]) for _ in range(25)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:3])  # eight images of noise, memorized


def test_every_dropout_layer_has_its_own_mask() -> None:
    """Guards resuming, and layers of one shape: masks depend on step and layer, and no two share one."""
    fitter = _published()
    first, second = fitter._logits(LARGER_IMAGES).numpy(), fitter._logits(LARGER_IMAGES).numpy()
    np.testing.assert_array_equal(first, second)
    ones = np.ones((4, 50), np.float32)
    masks = [fitter._dropout(ones, 0.5, layer_index=index).numpy() for index in (0, 1, 1)]
    fitter._iteration.assign_add(1)
    masks.append(fitter._dropout(ones, 0.5, layer_index=1).numpy())
    assert not np.array_equal(masks[0], masks[1]) and not np.array_equal(masks[2], masks[3])
    np.testing.assert_array_equal(masks[1], masks[2])
    assert not np.array_equal(fitter._logits(LARGER_IMAGES).numpy(), first)


def test_the_inference_core_takes_plain_gray() -> None:
    """Guards the contract for networks trained on standardized, repeated gray: the same outputs, from one channel."""
    fitter = _published(Network(name="course-cnn", input_channels=3), pixel_statistics=(0.5, 0.25))
    fitter.step(LARGER_IMAGES, TARGETS, np.float32(1e-3))
    fitter.update_inference_core()
    assert fitter.inference_core.input_shape == (None, 26, 26, 1) and fitter.averaged.input_shape == (None, 26, 26, 3)
    gray = LARGER_IMAGES.astype(np.float32) / 255
    expected = fitter.averaged(np.repeat((gray - 0.5) / 0.25, 3, axis=3)).numpy()
    # Sums of thousands of float32 products, in another order.
    np.testing.assert_allclose(fitter.inference_core(gray), expected, atol=1e-4)


def test_the_best_weights_are_restored() -> None:
    """Guards `keep = "best"`: saved weights are a copy that later steps do not change."""
    fitter = _published(keep_best=True)
    fitter.step(LARGER_IMAGES, TARGETS, LEARNING_RATE)
    fitter.save_best()
    best = weights_digest(fitter.averaged)
    fitter.step(LARGER_IMAGES, TARGETS, LEARNING_RATE)
    assert weights_digest(fitter.averaged) != best
    fitter.restore_best()
    assert weights_digest(fitter.averaged) == best


def test_training_defaults_build() -> None:
    """Guards the recipe's defaults: every optimizer field is one that Keras takes."""
    Fitter(TINY_NETWORK, Training(), "float32", batch_shape=BATCH_SHAPE, classes=3)


def _cross_entropy(targets: NDArray[Any], logits: NDArray[Any]) -> float:
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-(targets * logs).sum(axis=1).mean())


def test_distillation_weighs_labels_and_teacher() -> None:
    """Guards the distillation loss against the formula, in double precision."""
    distillation = Distillation(temperature=3.0, weight=0.6)
    teacher_logits = np.random.default_rng(1).normal(0, 2, (8, 3)).astype(np.float32)
    fitter = Fitter(
        TINY_NETWORK,
        RECIPE.training,
        "float32",
        batch_shape=BATCH_SHAPE,
        classes=3,
        distillation=distillation,
        soft_labels=True,
    )
    fitter._training = dataclasses.replace(fitter._training, label_smoothing=0.0)
    logits = fitter._logits(IMAGES).numpy().astype(np.float64)
    soft = np.exp(teacher_logits.astype(np.float64) / 3)
    expected = 0.4 * _cross_entropy(TARGETS, logits)
    expected += 0.6 * 9 * _cross_entropy(soft / soft.sum(axis=1, keepdims=True), logits / 3)
    loss, hits = fitter.step(IMAGES, np.stack([TARGETS, teacher_logits], axis=1), LEARNING_RATE)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert int(hits) == (logits.argmax(axis=1) == TARGETS.argmax(axis=1)).sum()


def test_online_distillation_uses_the_images_of_the_step() -> None:
    """Guards the loss against the formula: the teachers' mean logits, of images and mirror images alternately."""
    distillation = Distillation(temperature=3.0, teacher_weight=0.3)
    teachers = [TrainedNetwork(_fitter(seed=seed).core, ("a", "b", "c"), "") for seed in (5, 6)]
    training = dataclasses.replace(RECIPE.training, label_smoothing=0.0)
    fitter = Fitter(
        TINY_NETWORK,
        training,
        "float32",
        batch_shape=BATCH_SHAPE,
        classes=3,
        distillation=distillation,
        teachers=teachers,
    )
    for views in (IMAGES, IMAGES[:, :, ::-1], IMAGES):
        logs = [np.log(make_predict_function(teacher.core)(views).astype(np.float64)) for teacher in teachers]
        logits = fitter._logits(IMAGES).numpy().astype(np.float64)
        soft = np.exp(sum(logs) / 2 / 3)
        expected = 0.7 * _cross_entropy(TARGETS, logits)
        expected += 0.3 * 9 * _cross_entropy(soft / soft.sum(axis=1, keepdims=True), logits / 3)
        assert float(fitter.step(IMAGES, TARGETS, LEARNING_RATE)[0]) == pytest.approx(expected, rel=1e-5)
