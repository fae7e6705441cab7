"""Fine-tuning: the training's batches, loss and rates, on a network that compression has wrapped."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import RunError
from feredge.keras import keras, tf
from feredge.recipe import Recipe
from feredge.train.batches import Batches
from feredge.train.fitting import learning_rate, make_optimizer

Tell = Callable[[float, str], None]


def finetune(model: Any, batches: Batches, recipe: Recipe, *, tell: Tell) -> NDArray[np.float64]:
    """Fit `model`, in place, for `recipe.compression.epochs`, at a rate that falls along a cosine to zero.

    Unlike in training there is no warm-up, because the weights are good, and no averaging, because the rate
    ends at zero. The order and changes of the images go on where training's stopped.

    Args:
        model: `float32 (N, H, W, 1)` in [0, 1] to probabilities; its layers may do more in training mode.
        batches: the training's.
        recipe: says how.
        tell: called with the share that is done and a word.

    Returns:
        One row an epoch: epoch from 1, last rate, mean loss, share of hits.

    Raises:
        RunError: a loss that is no longer finite.
    """
    epochs, count = recipe.compression.epochs, len(batches)
    step = _compiled_step(model, batches, recipe)
    history = np.zeros((epochs, 4))
    for epoch in range(epochs):
        losses, hits, rate = 0.0, 0, 0.0
        for number, (images, targets) in enumerate(batches.epoch(recipe.training.epochs + epoch)):
            done = epoch * count + number
            rate = learning_rate(done, steps=epochs * count, warmup=0, peak=recipe.compression.rate)
            loss, correct = step(images, targets, np.float32(rate))
            if not math.isfinite(loss):
                raise RunError(f"expected a finite loss, found {float(loss)}; lower compression.rate")
            losses, hits = losses + float(loss), hits + int(correct)
            tell((done + 1) / (epochs * count), f"epoch {epoch + 1}/{epochs}")
        history[epoch] = epoch + 1, rate, losses / count, hits / (count * batches.shape[0])
    return history


def _compiled_step(model: Any, batches: Batches, recipe: Recipe) -> Callable[..., tuple[Any, Any]]:
    training, variables, classes = recipe.training, model.trainable_variables, batches.targets.shape[1]
    optimizer = make_optimizer(training)
    optimizer.build(variables)
    decayed = [training.weight_decay if "kernel" in variable.name else 0.0 for variable in variables]
    signature = [
        tf.TensorSpec(batches.shape, tf.uint8),
        tf.TensorSpec((batches.shape[0], classes), tf.float32),
        tf.TensorSpec((), tf.float32),
    ]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def step(images: Any, targets: Any, rate: Any) -> tuple[Any, Any]:
        smooth = targets * (1.0 - training.label_smoothing) + training.label_smoothing / classes
        with tf.GradientTape() as tape:
            probabilities = model(tf.cast(images, tf.float32) / 255.0, training=True)
            loss = tf.reduce_mean(keras.losses.categorical_crossentropy(smooth, probabilities))
        gradients = tape.gradient(loss, variables)
        optimizer.learning_rate.assign(rate)
        optimizer.apply_gradients(
            (gradient + decay * variable, variable)
            for gradient, decay, variable in zip(gradients, decayed, variables, strict=True)
        )
        hits = tf.equal(tf.argmax(probabilities, axis=1), tf.argmax(targets, axis=1))
        return loss, tf.reduce_sum(tf.cast(hits, tf.int32))

    return step  # type: ignore[no-any-return]
