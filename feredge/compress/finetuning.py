"""Fine-tuning of compressed networks, with training's batches and losses, distilled from the dense network."""

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
from feredge.keras import KerasModel, Tensor, keras, rewrite_strided_pointwise, tf
from feredge.recipes.schema import Recipe
from feredge.train import checkpoint
from feredge.train.batches import Batches
from feredge.train.fitting import distillation_loss, make_optimizer, optimizer_state, stateless_dropout
from feredge.train.schedule import warmup_cosine

ReportProgress = Callable[[float, str], None]
"""Called with the share that is done, in [0, 1], and a note."""
MIN_PROBABILITY = 1e-7  # whose logarithm is taken


def finetune(
    model: KerasModel,
    batches: Batches,
    recipe: Recipe,
    *,
    epochs: int,
    rate: float,
    report: ReportProgress,
    teacher: KerasModel = None,
    constrain: Callable[[], None] | None = None,
    before_step: Callable[[float], None] | None = None,
    state: Sequence[Any] = (),
    checkpoint_path: Path,
    identity: str,
) -> NDArray[np.float64]:
    """Train `model`, in place, with a learning rate that decays to zero along a cosine.

    There is no warm-up, because the initial weights are good, and no averaging, because the rate ends at zero.
    Shuffling and augmentation continue with the epochs after training's.

    Args:
        model: `float32 (N, H, W, C)` in [0, 1] to probabilities.
        batches: training batches.
        recipe: optimizer, losses and distillation.
        epochs: passes over the images.
        rate: initial learning rate.
        report: called after each step.
        teacher: the dense network, for online distillation with the weight `recipe.compression.distillation`.
        constrain: projects the weights to those that the compression allows, as part of each step.
        before_step: called before each step with the share of steps done.
        state: variables that `constrain` and `before_step` change.
        checkpoint_path: resumed if it exists; written after each epoch but the last. The caller removes it.
        identity: digest of what is fine-tuned; a checkpoint of another identity is ignored.

    Returns:
        One row per epoch: epoch from 1, last learning rate, mean loss, accuracy.

    Raises:
        RunError: the loss is no longer finite.
    """
    count = len(batches)
    step, optimizer = _compiled_step(rewrite_strided_pointwise(model), batches, recipe, teacher, constrain)
    variables = {"weight": model.weights, "slot": optimizer_state(optimizer), "state": list(state)}
    history = _restore(checkpoint_path, identity, variables)
    for epoch in range(len(history), epochs):
        losses, hits, step_rate = 0.0, 0, 0.0
        for number, (images, targets) in enumerate(batches.epoch(recipe.training.epochs + epoch)):
            steps_done = epoch * count + number
            if before_step is not None:
                before_step(steps_done / (epochs * count))
            step_rate = warmup_cosine(steps_done, steps=epochs * count, warmup=0, peak=rate)
            loss, correct = step(images, targets, np.float32(step_rate))
            if not math.isfinite(loss):
                raise RunError(
                    f"expected a finite loss, found {float(loss)} at rate {step_rate:.3g}; lower it in compression"
                )
            losses, hits = losses + float(loss), hits + int(correct)
            report((steps_done + 1) / (epochs * count), f"epoch {epoch + 1}/{epochs}")
        history = np.vstack([history, (epoch + 1, step_rate, losses / count, hits / (count * batches.shape[0]))])
        if epoch + 1 < epochs:
            checkpoint.save(checkpoint_path, variables, identity=identity, precision="", history=history)
    return history


def _restore(path: Path, identity: str, variables: checkpoint.Variables) -> NDArray[np.float64]:
    """Restore `variables` from the checkpoint of an unfinished fine-tuning, if there is one. Return its history."""
    if path.is_file():
        try:
            arrays = checkpoint.read(path, identity=identity)
            checkpoint.restore(path, arrays, variables)
            return arrays["history"]
        except RunError:  # damaged, or of another recipe: start over without an error, at most an hour is lost
            pass
    return np.empty((0, 4))


def _compiled_step(
    model: KerasModel, batches: Batches, recipe: Recipe, teacher: KerasModel, constrain: Callable[[], None] | None
) -> tuple[Callable[..., tuple[Tensor, Tensor]], Any]:
    training, variables, classes = recipe.training, model.trainable_variables, batches.targets.shape[1]
    weight = recipe.compression.distillation if teacher is not None else 0.0
    optimizer = make_optimizer(training)
    optimizer.build(variables)
    _seed_dropout_by_step(model, training.seed, optimizer.iterations)
    decays = [training.weight_decay if "kernel" in variable.name else 0.0 for variable in variables]
    signature = [
        tf.TensorSpec(batches.shape, tf.uint8),
        tf.TensorSpec((batches.shape[0], classes), tf.float32),
        tf.TensorSpec((), tf.float32),
    ]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def step(images: Tensor, targets: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        pixels = tf.cast(images, tf.float32) / 255.0
        smooth = targets * (1.0 - training.label_smoothing) + training.label_smoothing / classes
        teacher_logits = _logits(teacher(pixels, training=False)) if weight else None
        with tf.GradientTape() as tape:
            probabilities = model(pixels, training=True)
            loss = tf.reduce_mean(keras.losses.categorical_crossentropy(smooth, probabilities))
            if weight:
                temperature = recipe.distillation.temperature
                teacher_loss = distillation_loss(_logits(probabilities), teacher_logits, temperature)
                loss = (1.0 - weight) * loss + weight * teacher_loss
        gradients = tape.gradient(loss, variables)
        optimizer.learning_rate.assign(rate)
        optimizer.apply_gradients(
            (gradient + decay * variable, variable)
            for gradient, decay, variable in zip(gradients, decays, variables, strict=True)
        )
        if constrain is not None:
            constrain()
        correct = tf.equal(tf.argmax(probabilities, axis=1), tf.argmax(targets, axis=1))
        return loss, tf.reduce_sum(tf.cast(correct, tf.int32))

    return step, optimizer


def _seed_dropout_by_step(model: KerasModel, seed: int, step: Tensor) -> None:
    """Make Dropout layers use `stateless_dropout`: Keras's own generator would restart when fine-tuning is resumed."""
    for index, layer in enumerate(model.layers):
        inner = getattr(layer, "layer", layer)  # unwrap quantization-aware layers
        if isinstance(inner, keras.layers.Dropout):
            dropout = functools.partial(stateless_dropout, seed=seed, layer_index=index, step=step)
            inner._random_generator = SimpleNamespace(dropout=dropout)


def _logits(probabilities: Tensor) -> Tensor:
    """Return the logits, up to a constant, of a network that ends in a softmax."""
    return tf.math.log(tf.maximum(probabilities, MIN_PROBABILITY))
