"""Fitting: the compiled training step, and the variables that it updates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from feredge.keras import KerasModel, Tensor, has_bfloat16, keras, rewrite_strided_pointwise, seed_everything, tf
from feredge.recipes.schema import Distillation, Network, Training
from feredge.train.batches import Targets
from feredge.train.networks import LOGITS_LAYER, POOL_LAYER, build_core, clone_core, fold_input
from feredge.train.warm_start import TrainedNetwork

Precision = Literal["float32", "bfloat16"]


def resolve_precision(precision: str) -> Precision:
    """Return `precision`, and for `auto` bfloat16 where this CPU has instructions for it, else float32."""
    if precision == "auto":
        return "bfloat16" if has_bfloat16() else "float32"
    return "bfloat16" if precision == "bfloat16" else "float32"


@contextmanager
def precision_policy(precision: Precision) -> Iterator[None]:
    """Set Keras's global policy inside the block: mixed bfloat16 keeps weights and statistics in float32."""
    previous = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(previous)


class Fitter:
    """A network in training, its moving average and its optimizer.

    Attributes:
        core: the network in training, without the scaling of pixels to [0, 1]; in mixed bfloat16 if that is the
            precision.
        averaged: a float32 network of the same layers; its weights, the statistics of batch normalization
            included, are the exponential moving average of `core`'s.
        inference_core: the network for evaluation and export: `averaged`, or, if its input is standardized or repeated
            over several channels, an equivalent network for pixels in [0, 1]. `update_inference_core` copies the
            weights.
        step: `(images uint8 (B, H, W, C), targets float32 (B, classes), rate float32 ()) -> (loss, correct)`; with
            soft labels, targets are `(B, 2, classes)`: the one-hot label and the teacher's logits.
    """

    def __init__(
        self,
        network: Network,
        training: Training,
        precision: Precision,
        *,
        batch_shape: tuple[int | None, ...],
        classes: int,
        size: int = 0,
        distillation: Distillation | None = None,
        soft_labels: bool = False,
        teachers: Sequence[TrainedNetwork] = (),
        pixel_statistics: tuple[float, float] = (0.0, 1.0),
        keep_best: bool = False,
    ) -> None:
        """Build the network.

        Args:
            network: the architecture.
            training: optimizer, losses and averaging.
            precision: number format of the step's matrix products.
            batch_shape: shape of a step's images; None for sizes that change. See `set_batch_shape`.
            classes: number of outputs.
            size: height and width of full images, where a step's are crops.
            distillation: temperature and weights of the teachers' losses.
            soft_labels: whether targets hold a teacher's logits.
            teachers: networks for online distillation: they predict the augmented images of each step, or their
                mirror images, alternately.
            pixel_statistics: mean and standard deviation that standardize pixels in [0, 1].
            keep_best: allocate variables for `save_best` and `restore_best`.
        """
        self._network, self._training, self._pixel_statistics = network, training, pixel_statistics
        self._distillation, self._soft_labels = distillation or Distillation(), soft_labels
        size, channels = size or batch_shape[1] or 0, batch_shape[3] or 1
        repeated = channels * network.input_channels
        seed_everything(training.seed)
        with precision_policy(precision):
            self.core = rewrite_strided_pointwise(
                build_core(network, size=batch_shape[1], classes=classes, channels=repeated)
            )
        with precision_policy("float32"):
            self.averaged = build_core(network, size=size, classes=classes, channels=repeated)
            self.inference_core = self.averaged
            if repeated != channels or pixel_statistics != (0.0, 1.0):
                self.inference_core = build_core(network, size=size, classes=classes, channels=channels)
        self.averaged.set_weights(self.core.get_weights())
        self._best = [tf.Variable(weight) for weight in self.averaged.weights] if keep_best else []
        self._optimizer = make_optimizer(training)
        self._optimizer.build(self.core.trainable_variables)
        self._iteration = tf.Variable(0, dtype=tf.int64, trainable=False, name="iteration")
        self._teachers, self._precision, self._classes = teachers, precision, classes
        self._batch_shape: tuple[int | None, ...] = ()
        self.set_batch_shape(batch_shape)

    @property
    def variables(self) -> dict[str, list[Any]]:
        """All variables that a step or `save_best` changes: what a checkpoint must hold."""
        return {
            "weight": self.core.weights,
            "average": self.averaged.weights,
            "slot": optimizer_state(self._optimizer),
            "iteration": [self._iteration],
            "best": self._best,
        }

    def set_batch_shape(self, batch_shape: tuple[int | None, ...]) -> None:
        """Take images of another shape from the next step on, with the same weights."""
        if batch_shape == self._batch_shape:
            return
        self._batch_shape, size = batch_shape, batch_shape[1]
        clones = [clone_core(teacher.core, self._precision, size=size) for teacher in self._teachers]
        self._teacher_models = [_without_softmax(clone) for clone in clones]
        if self._network.name == "residual":
            features = keras.Model(self.core.input, self.core.get_layer(POOL_LAYER).output)
            self._features = _with_input_size(features, size)
        signature = [
            tf.TensorSpec(batch_shape, tf.uint8),
            tf.TensorSpec((batch_shape[0], *[2] * self._soft_labels, self._classes), tf.float32),
            tf.TensorSpec((), tf.float32),
        ]
        # One traced graph per image size: a graph for variable sizes is 10% slower.
        self.step = tf.function(self._step, input_signature=None if None in batch_shape else signature)

    def update_inference_core(self) -> None:
        """Copy the weights of `averaged` to `inference_core`."""
        if self.inference_core is not self.averaged:
            mean, deviation = self._pixel_statistics
            weights = self.averaged.get_weights()
            folded = fold_input(weights, repeat=self._network.input_channels, mean=mean, deviation=deviation)
            self.inference_core.set_weights(folded)

    def save_best(self) -> None:
        """Save the averaged weights as the best epoch's."""
        for best, average in zip(self._best, self.averaged.weights, strict=True):
            best.assign(average)

    def restore_best(self) -> None:
        """Restore the weights of `save_best` to `averaged`."""
        for best, average in zip(self._best, self.averaged.weights, strict=True):
            average.assign(best)

    def _step(self, images: Tensor, targets: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        variables = self.core.trainable_variables
        smoothing, distillation = self._training.label_smoothing, self._distillation
        if self._soft_labels:
            targets, soft_labels = targets[:, 0], targets[:, 1]
        smooth = targets * (1.0 - smoothing) + smoothing / targets.shape[1]
        teacher_logits = self._teacher_logits(images)
        with tf.GradientTape() as tape:
            logits = self._logits(images)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(smooth, logits))
            if self._soft_labels:
                soft_loss = distillation_loss(logits, soft_labels, distillation.temperature)
                loss = (1.0 - distillation.weight) * loss + distillation.weight * soft_loss
            if self._teachers:
                teacher_loss = distillation_loss(logits, teacher_logits, distillation.temperature)
                loss = (1.0 - distillation.teacher_weight) * loss + distillation.teacher_weight * teacher_loss
        gradients = tape.gradient(loss, variables)
        if self._training.weight_decay:
            gradients = [
                gradient + self._training.weight_decay * variable if "kernel" in variable.name else gradient
                for gradient, variable in zip(gradients, variables, strict=True)
            ]
        self._optimizer.learning_rate.assign(rate)
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self._iteration.assign_add(1)
        self._update_average()
        correct = tf.equal(tf.argmax(logits, axis=1), tf.argmax(targets, axis=1))
        return loss, tf.reduce_sum(tf.cast(correct, tf.int32))

    def _logits(self, images: Tensor) -> Tensor:
        x = self._preprocess(tf.cast(images, tf.float32) / 255.0)
        if self._network.name == "residual":
            features = self._features(x, training=True)
            if self._network.dropout:
                features = self._dropout(features, self._network.dropout, layer_index=0)
            return tf.cast(self.core.get_layer(LOGITS_LAYER)(features), tf.float32)
        for index, layer in enumerate(self.core.layers[1:-1]):  # sequential: all between the input and the softmax
            dropout = isinstance(layer, keras.layers.Dropout)
            x = self._dropout(x, layer.rate, layer_index=index) if dropout else layer(x, training=True)
        return tf.cast(x, tf.float32)

    def _teacher_logits(self, images: Tensor) -> Tensor:
        """Return the teachers' mean logits, in odd steps on mirrored images, `float32 (B, classes)`.

        Both in every step would double the teachers' cost for nearly the same gradient on average.
        """
        x = tf.cast(images, tf.float32) / 255.0
        x = tf.where(self._iteration % 2 == 0, x, x[:, :, ::-1])
        logits = [tf.cast(model(x), tf.float32) for model in self._teacher_models]
        return tf.add_n(logits) / len(logits) if logits else None

    def _preprocess(self, pixels: Tensor) -> Tensor:
        """Standardize and repeat pixels in [0, 1], where the network is trained on that."""
        mean, deviation = self._pixel_statistics
        if (mean, deviation) != (0.0, 1.0):
            pixels = (pixels - mean) / deviation
        return tf.repeat(pixels, self._network.input_channels, axis=3) if self._network.input_channels > 1 else pixels

    def _dropout(self, features: Tensor, rate: float, *, layer_index: int) -> Tensor:
        return stateless_dropout(
            features, rate, seed=self._training.seed, layer_index=layer_index, step=self._iteration
        )

    def _update_average(self) -> None:
        """Update the moving average.

        The decay grows from 0.1 to `ema_decay`, so that the initial weights have little influence early in training.
        """
        steps = tf.cast(self._iteration, tf.float32)
        decay = tf.minimum(self._training.ema_decay, steps / (steps + 9.0))
        for average, weight in zip(self.averaged.weights, self.core.weights, strict=True):
            average.assign(decay * average + (1.0 - decay) * weight)


def _without_softmax(core: KerasModel) -> KerasModel:
    """Return the network up to its logits."""
    return keras.Model(core.input, core.get_layer(LOGITS_LAYER).output)


def _with_input_size(model: KerasModel, size: int | None) -> KerasModel:
    """Return a model of the same layers, which share their variables, for images of another height and width."""
    if size == model.input_shape[1]:
        return model
    pixels = keras.Input((size, size, model.input_shape[-1]))
    return keras.models.clone_model(model, input_tensors=pixels, clone_function=lambda layer: layer)


def stateless_dropout(
    features: Tensor, rate: float, noise_shape: Any = None, *, seed: int, layer_index: int, step: Tensor
) -> Tensor:
    """Apply dropout whose mask depends on the seed, the layer and the step, `int64 ()`, only.

    So a resumed training drops the same features as an uninterrupted one.
    """
    mask_seed = tf.stack([tf.constant(seed + (layer_index << 32), tf.int64), step])
    return tf.nn.experimental.stateless_dropout(features, rate, mask_seed, noise_shape=noise_shape)


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy between the teacher's and the network's probabilities at a temperature.

    It is multiplied by the temperature squared, so that its gradients keep the scale of the labels' (Hinton et al.,
    "Distilling the knowledge in a neural network", 2015).
    """
    soft = tf.nn.softmax(teacher_logits / temperature)
    return temperature**2 * tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(soft, logits / temperature))


def make_optimizer(training: Training) -> Any:
    """Return the recipe's optimizer; its `learning_rate` must be assigned before each step."""
    # Without XLA: compiling the update costs start-up time and saves none.
    if training.optimizer == "adam":
        return keras.optimizers.Adam(0.0, jit_compile=False)
    if training.optimizer == "nadam":
        return keras.optimizers.Nadam(0.0, jit_compile=False)
    return keras.optimizers.SGD(0.0, momentum=training.momentum, nesterov=training.momentum > 0.0, jit_compile=False)


def optimizer_state(optimizer: Any) -> list[Any]:
    """Return all variables of an optimizer; `variables` of Keras's Nadam omits one."""
    omitted = [optimizer._u_product] if isinstance(optimizer, keras.optimizers.Nadam) else []
    return [*optimizer.variables, *omitted]


def one_hot(labels: NDArray[np.int8], classes: int) -> Targets:
    """Return `float32 (N, classes)` targets for labels."""
    return np.eye(classes, dtype=np.float32)[labels]
