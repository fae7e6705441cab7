"""What a recipe holds: which data, which network, how it is trained, what is made of it and exported."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

from feredge import dataclass_io
from feredge.dataclass_io import added


@dataclass(frozen=True)
class DataView:
    """Which part of a data set is used, and how it is split.

    Attributes:
        size: height and width of the network's input, in pixels.
        holdout: share of the training images set aside, class by class, where the data set brings no
            validation split of its own. Selection uses it; the test split is for the final figure only.
        drop_duplicates: leave out training images that also stand in another split.
        seed: of every random split.
        classes: those to keep, in the order of the network's outputs; `name = a + b` makes one of several.
            Empty keeps all.
        class_names: `source` keeps the data set's names; `fer2013` takes its classes 0 to 6, or by other usual names
            (anger, happiness), as FER2013's, before `classes` chooses among them.
        first: keep only so many training images of each class, the first in the source; 0 keeps all.
        split: `given` takes the source's splits, `merged` all its test splits together as one test; `random`
            divides rows anew, as scikit-learn's `train_test_split` does.
        of: the rows that a random split divides: those for training, or all.
        shares: of a random split: train and test, or train, validation and test.
        stratified: whether a random split keeps the classes' proportions.
        validation_is_test: the figures after each epoch are of the test images, as in studies that had no others.
            A test figure that chose among epochs flatters, so training.json says it.
    """

    size: int = 48
    holdout: float = 0.05
    drop_duplicates: bool = True
    seed: int = 1
    classes: tuple[str, ...] = added(())
    class_names: Literal["source", "fer2013"] = added("source")
    first: int = added(0)
    split: Literal["given", "merged", "random"] = added("given")
    of: Literal["training", "all"] = added("training")
    shares: tuple[float, ...] = added((0.8, 0.2))
    stratified: bool = added(False)
    validation_is_test: bool = added(False)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The classes to keep, each with those of the source that it is made of; empty for all."""
        pairs = ((name, parts) for name, _, parts in (text.partition("=") for text in self.classes))
        return {name.strip(): tuple(part.strip() for part in (parts or name).split("+")) for name, parts in pairs}


@dataclass(frozen=True)
class Network:
    """A dense 3x3 residual network: a stem, stages of residual blocks, pooling over all places, one dense layer.

    Or, by its name, a published one, whose layers stand in train/published.py.

    Attributes:
        stem: channels of the first convolution.
        stem_stride: its stride; 2 halves the picture before any costly layer.
        channels: channels of each stage; every stage after the first halves height and width.
        blocks: residual blocks (two 3x3 convolutions each) in each stage.
        dropout: share of the pooled features zeroed in training.
        name: the keys above are the residual network's; the published ones have none. `foreign` was not trained here.
        repeat: channels that are trained on; more than one repeats the gray. What is kept takes gray all the same:
            kernels of equal channels are summed.
        standardise: train on pixels less the training images' mean, by their standard deviation. Folded into the
            first layer of what is kept, which is exact without padding only.
        pool: over the places of the last stage: their `average`, or `weighted`, by weights of each channel's own that
            are learnt. Mouth and brows of a face that is cut out stand where they stand in the next, which an average
            forgets (a global depthwise convolution; Chen et al., "MobileFaceNets", 2018).
    """

    stem: int = 32
    stem_stride: int = 2
    channels: tuple[int, ...] = (32, 32, 64)
    blocks: tuple[int, ...] = (1, 1, 1)
    dropout: float = 0.0
    name: Literal[
        "residual",
        "study-2022-ann",
        "study-2022-cnn",
        "six-class-cnn",
        "three-class-dcnn",
        "tuned-cnn",
        "course-cnn",
        "foreign",
    ] = added("residual")
    repeat: int = added(1)
    standardise: bool = added(False)
    pool: Literal["average", "weighted"] = added("average")

    def side(self, size: int) -> int:
        """Return height and width of the residual network's last stage, for images of `size` pixels."""
        return math.ceil(size / (self.stem_stride << len(self.channels) - 1))


@dataclass(frozen=True)
class Training:
    """How weights are fitted.

    Attributes:
        epochs: passes over the training images.
        batch: images a step.
        optimizer: `sgd` (Nesterov momentum), `adam`, or `nadam` (Adam with Nesterov momentum).
        rate: learning rate after the warm-up; the schedule says how it falls.
        momentum: of sgd.
        warmup: epochs over which the rate rises from zero.
        weight_decay: L2 penalty on kernels, added to their gradient.
        label_smoothing: share of each label spread over all classes.
        averaging: decay a step of the exponential moving average of weights that is kept; 0 keeps the last.
        precision: `auto` trains in mixed bfloat16 where the CPU has it, else float32.
        seed: of weights, order and augmentation.
        repeats: trainings, each with the next seed; the first is the run, the others stand in its `repeats`.
    """

    epochs: int = 60
    batch: int = 128
    optimizer: Literal["sgd", "adam", "nadam"] = "sgd"
    rate: float = 0.1
    momentum: float = 0.9
    warmup: float = 3.0
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    averaging: float = 0.998
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 1
    repeats: int = added(1)


Figure = Literal["validation_accuracy", "validation_loss", "train_accuracy", "train_loss"]


@dataclass(frozen=True)
class Schedule:
    """How the rate falls, when training stops and which weights are kept.

    An epoch is better than those before if its figure beats the best by more than `min_delta`.

    Attributes:
        shape: `cosine` falls to zero at the last epoch, `constant` stays.
        decay: the rate is multiplied by exp(-decay) in each epoch from `decay_from` (counted from 0) on.
        watch: the figure, a column of history.csv.
        min_delta: what counts as better; a share for accuracies.
        lower_after: epochs without a better one after which the rate is multiplied by `lower_by`; 0 never.
        lowest: the rate falls no further.
        stop_after: epochs without a better one after which training stops; 0 never.
        stop_watch: the figure that stops training, where it is not `watch`; else empty.
        keep: the weights after the last epoch, or after the best.
    """

    shape: Literal["cosine", "constant"] = "cosine"
    decay: float = 0.0
    decay_from: int = 0
    watch: Figure = "validation_accuracy"
    min_delta: float = 0.0
    lower_after: int = 0
    lower_by: float = 0.5
    lowest: float = 0.0
    stop_after: int = 0
    stop_watch: Literal[Figure, ""] = added("")
    keep: Literal["last", "best"] = "last"

    @property
    def _heeded(self) -> list[str]:
        """The figures that have any say."""
        figures = [self.watch] * (self.keep == "best" or self.lower_after > 0)
        return [*figures, *[self.stop_watch or self.watch] * (self.stop_after > 0)]

    @property
    def chooses(self) -> bool:
        """Whether a figure of the history has any say."""
        return bool(self._heeded)

    @property
    def validates(self) -> bool:
        """Whether a figure of the validation images has any say."""
        return any(figure.startswith("validation") for figure in self._heeded)


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images; all zero means none.

    Attributes:
        flip: mirror half of the images.
        shift: largest shift, as a share of the width.
        scale: largest change of size: 0.2 draws from 0.8 to 1.2.
        rotate: largest angle, in degrees.
        brightness: largest change of gain and of offset, as a share of the full range.
        erase: chance that a rectangle is replaced by noise.
        zoom: largest change of the part that is shown, drawn for height and width apart.
        shear: largest angle, in degrees, by which vertical lines lean.
        mixup: each image is mixed with another of its batch, and so are their labels, by a share drawn from
            Beta(mixup, mixup); 0 mixes none (Zhang et al., "mixup", 2018). Of a teacher, the logits are mixed.
        crop: train on random squares of so many pixels, which costs less; 0 on whole images. Figures are of whole
            images. Only the residual network takes images of any size.
        whole: so many last epochs show whole images for all that, as tests do: a network that has seen squares only
            knows these less well (Touvron et al., "Fixing the train-test resolution discrepancy", 2019).
        sizes: height and width that these squares, or whole images, are shrunk to, each for an equal part of the
            other epochs, the smallest first: what is learnt early needs few pixels, and costs less (progressive
            learning, Tan and Le, "EfficientNetV2", 2021). Empty shrinks none.
        interpolation: between pixels, where an image is moved. `linear` blurs, and a network that has seen nothing
            else knows sharp images less well; `cubic` hardly does.
    """

    flip: bool = True
    shift: float = 0.1
    scale: float = 0.2
    rotate: float = 12.0
    brightness: float = 0.2
    erase: float = 0.25
    zoom: float = added(0.0)
    shear: float = added(0.0)
    mixup: float = added(0.0)
    crop: int = added(0)
    whole: int = added(0)
    sizes: tuple[int, ...] = added(())
    interpolation: Literal["linear", "cubic"] = added("linear")


@dataclass(frozen=True)
class Compression:
    """What is done to trained weights. Every variant starts from the dense float model.

    Attributes:
        variants: `dense`; `pruned-N` (N percent of the kernels' weights zero); `clustered-N` (at most N different
            values in a kernel); `channels-N` (channels removed, and N percent of the multiply-adds with them);
            `qat` (quantization-aware training); `pruned-N-qat` and `channels-N-qat` (that, then qat).
        epochs: fine-tuning passes of each variant but dense.
        rate: learning rate at the start of the fine-tuning, for variants whose weights are only rounded: `clustered-N`
            and `qat`.
        pruning_epochs: the passes of `pruned-N` and `channels-N`, which lose more; 0 takes `epochs`.
        pruning_rate: their rate; 0 takes that of the training, or `rate` for a network whose weights were given.
        distillation: share of the fine-tuning's loss that is the distance to the dense network's probabilities;
            the rest is that to the labels. The temperature is that of [distillation].
    """

    variants: tuple[str, ...] = ("dense", "pruned-80", "qat")
    epochs: int = 6
    rate: float = 0.01
    distillation: float = added(0.5)
    pruning_epochs: int = added(0)
    pruning_rate: float = added(0.0)


@dataclass(frozen=True)
class Distillation:
    """How teachers' outputs are learnt, where there are any: soft labels, see train/soft_labels.py, or networks.

    Attributes:
        temperature: by which logits are divided before the softmax.
        weight: share of the distance to the soft labels in the loss; the rest is that to the labels.
        teacher_weight: share of the loss that is the distance to what networks say of the changed image itself; the
            rest is the loss as it is without them.
    """

    temperature: float = 4.0
    weight: float = 0.7
    teacher_weight: float = added(0.6)


USUAL = {
    "tflite": ("float32", "float16", "dynamic-int8", "int8", "int16x8"),
    "onnx": ("float32", "dynamic-int8", "int8"),
    "ort": ("float32", "int8"),
}
"""Precisions of `Export.precisions` that each format is written in; more by `also`."""


@dataclass(frozen=True)
class Export:
    """What is written.

    Attributes:
        precisions: of PRECISIONS in artifact.py, each in every one of `formats` that it is USUAL in: `float16` and
            `int16x8` are written as TFLite only.
        formats: of MODEL_FORMATS in artifact.py; `ort` holds `float32` and `int8` only.
        calibration: images of the training split, class by class, that set the int8 ranges.
        opset: of ONNX files; tf2onnx writes at most 18.
        also: further files, each `<precision>.<format>`: `float16.onnx`.
        method: how calibration makes a range of what it saw; see compress/ranges.py.
        full_range: 8 bits for int8 kernels in ONNX, not 7: x86 CPUs without VNNI add two products in 16 bits, which
            overflow then, and such a file's answers are wrong there.
        keep_float: layers that int8 files leave in float32, by their Keras names.
        max_drop: percentage points of validation accuracy that an int8 file may lose; where it loses more, layers
            are put back to float32, the worst first. 0 sets no bound.
        licence: note for the files; a general one if empty.
    """

    precisions: tuple[str, ...] = ("float32", "float16", "dynamic-int8", "int8")
    formats: tuple[str, ...] = ("tflite", "onnx")
    calibration: int = 512
    opset: int = 17
    also: tuple[str, ...] = added(())
    method: Literal["min-max", "moving-average", "percentile", "entropy"] = added("min-max")
    full_range: bool = added(False)
    keep_float: tuple[str, ...] = added(())
    max_drop: float = added(0.0)
    licence: str = added("")

    @property
    def files(self) -> list[str]:
        """What is written of each variant, `<precision>.<format>`, in the manifest's order."""
        usual = [f"{each}.{kind}" for kind in self.formats for each in self.precisions if each in USUAL[kind]]
        return list(dict.fromkeys([*usual, *self.also]))


@dataclass(frozen=True)
class Recipe:
    """A whole recipe; `name` is its file's stem."""

    name: str
    data: DataView = field(default_factory=DataView)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)
    augmentation: Augmentation = field(default_factory=Augmentation)
    compression: Compression = field(default_factory=Compression)
    export: Export = field(default_factory=Export)
    schedule: Schedule = added(Schedule())  # noqa: RUF009 - it is frozen
    distillation: Distillation = added(Distillation())  # noqa: RUF009

    def to_json(self) -> dict[str, Any]:
        """Return the resolved recipe as plain values; see `settings.to_plain`."""
        return dataclass_io.to_plain(self)

    def digest(self, *sections: str) -> str:
        """Return a SHA-256 over the named sections: it changes when, and only when, their result would."""
        value = self.to_json()
        text = json.dumps([value[section] for section in sections if section in value], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
