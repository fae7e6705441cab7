"""Fine-tuning: the training's batches and loss on a network that was compressed, beside the one it was made of."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import RunError
from feredge.keras import keras, safe_to_fit, tf
from feredge.recipes.schema import Recipe
from feredge.train import checkpoint
from feredge.train.batches import Batches
from feredge.train.fitting import distillation_loss, dropped, make_optimizer, optimizer_state
from feredge.train.schedule import learning_rate

Tell = Callable[[float, str], None]
LEAST = 1e-7  # a probability that has a logarithm


def finetune(
    model: Any,
    batches: Batches,
    recipe: Recipe,
    *,
    epochs: int,
    rate: float,
    tell: Tell,
    teacher: Any = None,
    hold: Callable[[], None] | None = None,
    before: Callable[[float], None] | None = None,
    state: Sequence[Any] = (),
    kept: Path,
    identity: str,
) -> NDArray[np.float64]:
    """Fit `model`, in place, at a rate that falls along a cosine to zero.

    Unlike in training there is no warm-up, because the weights are good, and no averaging, because the rate
    ends at zero. The order and changes of the images go on where training's stopped.

    Args:
        model: `float32 (N, H, W, 1)` in [0, 1] to probabilities; its layers may do more in training mode.
        batches: the training's.
        recipe: says how.
        epochs: passes over the images.
        rate: at the first step.
        tell: called with the share that is done and a word.
        teacher: the dense network; its probabilities for the very images of a step are the targets of
            `recipe.compression.distillation` of the loss (Hinton et al., "Distilling the knowledge in a neural
            network", 2015).
        hold: puts the weights back to what the compression allows; part of every step.
        before: called before each step with the share of the steps that are done.
        state: variables that `hold` and `before` change.
        kept: the file that holds an unfinished fine-tuning, from which it goes on; written after each epoch but the
            last. The caller removes it.
        identity: of what is fine-tuned: another one's file is not gone on with.

    Returns:
        One row an epoch: epoch from 1, last rate, mean loss, share of hits.

    Raises:
        RunError: a loss that is no longer finite.
    """
    count = len(batches)
    step, optimizer = _compiled_step(safe_to_fit(model), batches, recipe, teacher, hold)
    variables = {"weight": model.weights, "slot": optimizer_state(optimizer), "state": list(state)}
    history = _restored(kept, identity, variables)
    for epoch in range(len(history), epochs):
        losses, hits, now = 0.0, 0, 0.0
        for number, (images, targets) in enumerate(batches.epoch(recipe.training.epochs + epoch)):
            done = epoch * count + number
            if before is not None:
                before(done / (epochs * count))
            now = learning_rate(done, steps=epochs * count, warmup=0, peak=rate)
            loss, correct = step(images, targets, np.float32(now))
            if not math.isfinite(loss):
                raise RunError(
                    f"expected a finite loss, found {float(loss)} at rate {now:.3g}; lower it in compression"
                )
            losses, hits = losses + float(loss), hits + int(correct)
            tell((done + 1) / (epochs * count), f"epoch {epoch + 1}/{epochs}")
        history = np.vstack([history, (epoch + 1, now, losses / count, hits / (count * batches.shape[0]))])
        if epoch + 1 < epochs:
            checkpoint.save(kept, variables, identity=identity, precision="", history=history)
    return history


def _restored(kept: Path, identity: str, variables: checkpoint.Variables) -> NDArray[np.float64]:
    """Give `variables` what an unfinished fine-tuning left, if there is one. Return its history."""
    if kept.is_file():
        try:
            arrays = checkpoint.read(kept, identity=identity)
            checkpoint.restore(kept, arrays, variables)
            return arrays["history"]
        except RunError:  # damaged, or of another recipe: an hour is lost at most, and nobody need be asked
            pass
    return np.empty((0, 4))


def _compiled_step(
    model: Any, batches: Batches, recipe: Recipe, teacher: Any, hold: Callable[[], None] | None
) -> tuple[Callable[..., tuple[Any, Any]], Any]:
    training, variables, classes = recipe.training, model.trainable_variables, batches.targets.shape[1]
    weight = recipe.compression.distillation if teacher is not None else 0.0
    optimizer = make_optimizer(training)
    optimizer.build(variables)
    _draw_by_step(model, training.seed, optimizer.iterations)
    decayed = [training.weight_decay if "kernel" in variable.name else 0.0 for variable in variables]
    signature = [
        tf.TensorSpec(batches.shape, tf.uint8),
        tf.TensorSpec((batches.shape[0], classes), tf.float32),
        tf.TensorSpec((), tf.float32),
    ]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def step(images: Any, targets: Any, rate: Any) -> tuple[Any, Any]:
        pixels = tf.cast(images, tf.float32) / 255.0
        smooth = targets * (1.0 - training.label_smoothing) + training.label_smoothing / classes
        taught = _logits(teacher(pixels, training=False)) if weight else None
        with tf.GradientTape() as tape:
            probabilities = model(pixels, training=True)
            loss = tf.reduce_mean(keras.losses.categorical_crossentropy(smooth, probabilities))
            if weight:
                soft = distillation_loss(_logits(probabilities), taught, recipe.distillation.temperature)
                loss = (1.0 - weight) * loss + weight * soft
        gradients = tape.gradient(loss, variables)
        optimizer.learning_rate.assign(rate)
        optimizer.apply_gradients(
            (gradient + decay * variable, variable)
            for gradient, decay, variable in zip(gradients, decayed, variables, strict=True)
        )
        if hold is not None:
            hold()
        hits = tf.equal(tf.argmax(probabilities, axis=1), tf.argmax(targets, axis=1))
        return loss, tf.reduce_sum(tf.cast(hits, tf.int32))

    return step, optimizer


def _draw_by_step(model: Any, seed: int, step: Any) -> None:
    """Let Dropout layers draw as training's do: Keras's own generator starts over in a fine-tuning that goes on."""
    for place, layer in enumerate(model.layers):
        inner = getattr(layer, "layer", layer)  # what quantization-aware training wraps
        if isinstance(inner, keras.layers.Dropout):
            draw = functools.partial(dropped, seed=seed, place=place, step=step)
            inner._random_generator = SimpleNamespace(dropout=draw)


def _logits(probabilities: Any) -> Any:
    """Return logits, up to a constant, of a network that ends in a softmax."""
    return tf.math.log(tf.maximum(probabilities, LEAST))
