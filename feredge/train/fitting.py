"""Fitting: one compiled step of gradient descent, and the state it moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from feredge.keras import has_bfloat16, keras, safe_to_fit, seed_everything, tf
from feredge.recipes.schema import Distillation, Network, Training
from feredge.train.batches import Targets
from feredge.train.networks import LOGITS, POOL, build_core, fold_input, plain_clone
from feredge.train.warm_start import Trained

Precision = Literal["float32", "bfloat16"]


def resolve_precision(asked: str) -> Precision:
    """Return what `auto` means on this machine, or `asked` itself."""
    if asked == "auto":
        return "bfloat16" if has_bfloat16() else "float32"
    return "bfloat16" if asked == "bfloat16" else "float32"


@contextmanager
def precision_policy(precision: Precision) -> Iterator[None]:
    """Build layers for `precision` inside the block: mixed bfloat16 keeps weights and statistics in float32."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


class Fitter:
    """A network while it is trained.

    Attributes:
        core: the network that the gradient moves, in mixed bfloat16 where asked.
        averaged: a float32 network of the same shape; its weights, the statistics of batch normalization
            among them, are the moving average of `core`'s.
        kept: what is evaluated and kept: `averaged` itself, or where that takes repeated or standardised gray, the
            network of plain gray that does the same. `refresh` brings its weights up to date.
        step: `(images uint8 (B, H, W, 1), targets float32 (B, classes), rate float32 ()) -> (loss, correct)`; with
            soft labels `(B, 2, classes)`, of an image the label and the teacher's logits.
    """

    def __init__(
        self,
        network: Network,
        training: Training,
        precision: Precision,
        *,
        batch: tuple[int | None, ...],
        classes: int,
        size: int = 0,
        distillation: Distillation | None = None,
        soft_labels: bool = False,
        teachers: Sequence[Trained] = (),
        standard: tuple[float, float] = (0.0, 1.0),
        keep_best: bool = False,
    ) -> None:
        """Build the network.

        Args:
            network: which.
            training: how it is fitted.
            precision: of the step's products.
            batch: shape of the images of a step; None for sides that change. `expect` takes another.
            classes: outputs.
            size: height and width of whole images, where a step's are only parts of them.
            distillation: how teachers' logits are learnt.
            soft_labels: whether targets hold a teacher's logits.
            teachers: networks that are asked about the images of each step, or their mirror images, in turn.
            standard: mean and standard deviation by which pixels in [0, 1] are standardised.
            keep_best: make room for the best epoch's weights, for `remember` and `recall`.
        """
        self._network, self._training, self._standard = network, training, standard
        self._distillation, self._soft_labels = distillation or Distillation(), soft_labels
        size = size or batch[1] or 0
        seed_everything(training.seed)
        with precision_policy(precision):
            self.core = safe_to_fit(build_core(network, size=batch[1], classes=classes, channels=network.repeat))
        with precision_policy("float32"):
            self.averaged = build_core(network, size=size, classes=classes, channels=network.repeat)
            plain = network.repeat == 1 and standard == (0.0, 1.0)
            self.kept = self.averaged if plain else build_core(network, size=size, classes=classes)
        self.averaged.set_weights(self.core.get_weights())
        self._best = [tf.Variable(weight) for weight in self.averaged.weights] if keep_best else []
        self._optimizer = make_optimizer(training)
        self._optimizer.build(self.core.trainable_variables)
        self._iteration = tf.Variable(0, dtype=tf.int64, trainable=False, name="iteration")
        self._asked, self._precision, self._classes = teachers, precision, classes
        self._shape: tuple[int | None, ...] = ()
        self.expect(batch)

    @property
    def variables(self) -> dict[str, list[Any]]:
        """Everything that a step changes, and so everything that a checkpoint must hold."""
        return {
            "weight": self.core.weights,
            "average": self.averaged.weights,
            "slot": optimizer_state(self._optimizer),
            "iteration": [self._iteration],
            "best": self._best,
        }

    def expect(self, batch: tuple[int | None, ...]) -> None:
        """Take images of the shape `batch` from the next step on, with the same weights."""
        if batch == self._shape:
            return
        self._shape = batch
        self._teachers = [_to_logits(plain_clone(each.core, self._precision, side=batch[1])) for each in self._asked]
        if self._network.name == "residual":
            self._features = _of_side(keras.Model(self.core.input, self.core.get_layer(POOL).output), batch[1])
        signature = [
            tf.TensorSpec(batch, tf.uint8),
            tf.TensorSpec((batch[0], *[2] * self._soft_labels, self._classes), tf.float32),
            tf.TensorSpec((), tf.float32),
        ]
        # Sides that change are a graph each: one graph for all of them takes a tenth more time.
        self.step = tf.function(self._step, input_signature=None if None in batch else signature)

    def refresh(self) -> None:
        """Give `kept` what `averaged` has learnt."""
        if self.kept is not self.averaged:
            mean, deviation = self._standard
            weights = self.averaged.get_weights()
            self.kept.set_weights(fold_input(weights, repeat=self._network.repeat, mean=mean, deviation=deviation))

    def remember(self) -> None:
        """Keep the averaged weights as the best."""
        for best, average in zip(self._best, self.averaged.weights, strict=True):
            best.assign(average)

    def recall(self) -> None:
        """Take the best weights back."""
        for best, average in zip(self._best, self.averaged.weights, strict=True):
            average.assign(best)

    def _step(self, images: Any, targets: Any, rate: Any) -> tuple[Any, Any]:
        variables = self.core.trainable_variables
        smoothing, distillation = self._training.label_smoothing, self._distillation
        if self._soft_labels:
            targets, taught = targets[:, 0], targets[:, 1]
        smooth = targets * (1.0 - smoothing) + smoothing / targets.shape[1]
        told = self._told(images)
        with tf.GradientTape() as tape:
            logits = self._logits(images)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(smooth, logits))
            if self._soft_labels:
                soft = distillation_loss(logits, taught, distillation.temperature)
                loss = (1.0 - distillation.weight) * loss + distillation.weight * soft
            if self._teachers:
                seen = distillation_loss(logits, told, distillation.temperature)
                loss = (1.0 - distillation.teacher_weight) * loss + distillation.teacher_weight * seen
        gradients = tape.gradient(loss, variables)
        if self._training.weight_decay:
            gradients = [
                gradient + self._training.weight_decay * variable if "kernel" in variable.name else gradient
                for gradient, variable in zip(gradients, variables, strict=True)
            ]
        self._optimizer.learning_rate.assign(rate)
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self._iteration.assign_add(1)
        self._average()
        hits = tf.equal(tf.argmax(logits, axis=1), tf.argmax(targets, axis=1))
        return loss, tf.reduce_sum(tf.cast(hits, tf.int32))

    def _logits(self, images: Any) -> Any:
        x = tf.cast(images, tf.float32) / 255.0
        if self._network.name == "residual":
            features = self._features(self._channels(x), training=True)
            if self._network.dropout:
                features = self._dropped(features, self._network.dropout, place=0)
            return tf.cast(self.core.get_layer("logits")(features), tf.float32)
        x = self._channels(x)
        for place, layer in enumerate(self.core.layers[1:-1]):  # a chain, from after the input to the logits
            dropout = isinstance(layer, keras.layers.Dropout)
            x = self._dropped(x, layer.rate, place=place) if dropout else layer(x, training=True)
        return tf.cast(x, tf.float32)

    def _told(self, images: Any) -> Any:
        """Return the teachers' mean logits, `float32 (B, classes)`, of the images and their mirror images in turn.

        Both in every step would teach nearly the same on average, and teachers are often larger than their pupil.
        """
        x = tf.cast(images, tf.float32) / 255.0
        side = tf.where(self._iteration % 2 == 0, x, x[:, :, ::-1])
        said = [tf.cast(teacher(side), tf.float32) for teacher in self._teachers]
        return tf.add_n(said) / len(said) if said else None

    def _channels(self, pixels: Any) -> Any:
        """Standardise and repeat gray in [0, 1], where the network is trained on that."""
        mean, deviation = self._standard
        if (mean, deviation) != (0.0, 1.0):
            pixels = (pixels - mean) / deviation
        return tf.repeat(pixels, self._network.repeat, axis=3) if self._network.repeat > 1 else pixels

    def _dropped(self, features: Any, share: float, *, place: int) -> Any:
        return dropped(features, share, seed=self._training.seed, place=place, step=self._iteration)

    def _average(self) -> None:
        """Move the average: at first that of the last ninth of all steps or so, which forgets the random start."""
        steps = tf.cast(self._iteration, tf.float32)
        keep = tf.minimum(self._training.averaging, steps / (steps + 9.0))
        for average, weight in zip(self.averaged.weights, self.core.weights, strict=True):
            average.assign(keep * average + (1.0 - keep) * weight)


def _to_logits(core: Any) -> Any:
    """Return the network up to its logits."""
    return keras.Model(core.input, core.get_layer(LOGITS).output)


def _of_side(model: Any, side: int | None) -> Any:
    """Return the same layers, with the same variables, for images of another height and width."""
    if side == model.input_shape[1]:
        return model
    pixels = keras.Input((side, side, model.input_shape[-1]))
    return keras.models.clone_model(model, input_tensors=pixels, clone_function=lambda layer: layer)


def dropped(features: Any, share: float, noise_shape: Any = None, *, seed: int, place: int, step: Any) -> Any:
    """Zero a share of `features`, drawn from the place in the network and the step's number, `int64 ()`.

    So a resumed run drops the same ones as an uninterrupted one.
    """
    drawn_by = tf.stack([tf.constant(seed + (place << 32), tf.int64), step])
    return tf.nn.experimental.stateless_dropout(features, share, drawn_by, noise_shape=noise_shape)


def distillation_loss(logits: Any, taught: Any, temperature: float) -> Any:
    """Return the mean cross-entropy of softened `logits` to the softened logits `taught`.

    It is multiplied by the temperature squared, which keeps its gradients as large as the labels' (Hinton et al.,
    "Distilling the knowledge in a neural network", 2015).
    """
    soft = tf.nn.softmax(taught / temperature)
    return temperature**2 * tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(soft, logits / temperature))


def make_optimizer(training: Training) -> Any:
    """Return the recipe's optimizer; its `learning_rate` is to be assigned before each step."""
    # The rate is assigned before each step; compiling the update by XLA costs start-up time and gains nothing here.
    if training.optimizer == "adam":
        return keras.optimizers.Adam(0.0, jit_compile=False)
    if training.optimizer == "nadam":
        return keras.optimizers.Nadam(0.0, jit_compile=False)
    return keras.optimizers.SGD(0.0, momentum=training.momentum, nesterov=training.momentum > 0.0, jit_compile=False)


def optimizer_state(optimizer: Any) -> list[Any]:
    """Return all variables of an optimizer."""
    forgotten = [optimizer._u_product] if isinstance(optimizer, keras.optimizers.Nadam) else []  # by Keras
    return [*optimizer.variables, *forgotten]


def one_hot(labels: NDArray[np.int8], classes: int) -> Targets:
    """Return `float32 (N, classes)` targets for labels."""
    return np.eye(classes, dtype=np.float32)[labels]
