"""Dataclasses of a recipe: data, network, training, schedule, augmentation, compression, distillation, export."""

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
    """Selection and split of a data set.

    Attributes:
        size: height and width of the network's input, in pixels.
        holdout: fraction of the training images held out as a stratified validation split, where the data set has
            none. Model selection uses it; the test split is for the final evaluation only.
        drop_duplicates: exclude training images that also occur in another split, exactly or nearly.
        seed: of every random split.
        classes: classes to use, in the order of the network's outputs; `name = a + b` merges several into one.
            Empty uses all.
        class_names: `source` uses the data set's names; `fer2013` maps classes 0 to 6, or common synonyms (anger,
            happiness), to FER2013's names, before `classes` selects among them.
        limit_per_class: maximum number of training images per class, in the order of the source; 0 sets no limit.
        split: `given` uses the source's splits, `merged` all its test splits together as one test split; `random`
            splits rows anew, as scikit-learn's `train_test_split` does.
        split_rows: the rows that a random split divides: the training split, or all.
        shares: fractions of a random split: train and test, or train, validation and test.
        stratified: whether a random split preserves the class proportions.
        validation_is_test: use the test split as the validation split, to reproduce studies that did. Metrics of
            images that selected the epoch are optimistic, so training.json records it.
        channels: channels of the network's input: 1 for gray, 3 for RGB. Pictures of the other kind are converted.
        faces: whether the images are faces. The Predictor's commands detect the faces in a picture for such a network,
            and classify whole pictures for others.
    """

    size: int = 48
    holdout: float = 0.05
    drop_duplicates: bool = True
    seed: int = 1
    classes: tuple[str, ...] = added(())
    class_names: Literal["source", "fer2013"] = added("source")
    limit_per_class: int = added(0)
    split: Literal["given", "merged", "random"] = added("given")
    split_rows: Literal["training", "all"] = added("training")
    shares: tuple[float, ...] = added((0.8, 0.2))
    stratified: bool = added(False)
    validation_is_test: bool = added(False)
    channels: int = added(1)
    faces: bool = added(True)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The selected classes, each with the source classes merged into it; empty for all."""
        pairs = ((name, parts) for name, _, parts in (text.partition("=") for text in self.classes))
        return {name.strip(): tuple(part.strip() for part in (parts or name).split("+")) for name, parts in pairs}


@dataclass(frozen=True)
class Network:
    """A residual network (stem, stages of residual blocks, global pooling, one dense layer).

    Or blocks of two convolutions, or a published network, by its name; their layers are in train/published.py.

    Attributes:
        stem: channels of the first convolution.
        stem_stride: its stride; 2 halves height and width before any costly layer.
        channels: channels of each stage; every stage after the first halves height and width.
        blocks: residual blocks (two convolutions each) in each stage.
        dropout: fraction of the pooled features zeroed in training.
        name: architecture. The keys above apply to `residual`. `convolutional` is one block for each of `channels` (two
            convolutions, each with ReLU and batch normalization; max pooling; dropout), then dense layers. `custom` is
            the function in `builder`. `foreign` is a network trained elsewhere.
        input_channels: input channels in training on gray images; more than one repeats the gray channel. The saved
            network takes gray: its first kernels are summed over the equal channels.
        standardize: train on inputs standardized by the mean and standard deviation of the training images. Folded
            into the first layer of the saved network, which is exact only without padding.
        pool: global pooling after the last stage: `average`, or `weighted` with learned weights for each channel and
            position (a global depthwise convolution; Chen et al., "MobileFaceNets", 2018). In an aligned face crop
            mouth and brows have fixed positions, which an average discards.
        kernel: height and width of the kernels in residual blocks.
        convolution: of residual blocks: `dense`, or `depthwise`, a depthwise convolution and a 1x1 convolution, which
            have a fraction of the weights (Chollet, "Xception", 2017).
        squeeze_excitation: of residual blocks: the ratio by which a gate for each channel reduces the pooled channels
            (Hu et al., "Squeeze-and-excitation networks", 2018), at least 4 of them; 0 for no gates.
        kernels: of `convolutional`: height and width of the kernels of each block.
        dense: of `convolutional`: units of each hidden dense layer.
        builder: of `custom`: `module:function`, which is imported and called with the pixels, a Keras tensor in [0, 1],
            and returns features `(N, features)`, by layers of tf_keras. Its code runs: read a recipe from elsewhere
            before you use it.
    """

    stem: int = 32
    stem_stride: int = 2
    channels: tuple[int, ...] = (32, 32, 64)
    blocks: tuple[int, ...] = (1, 1, 1)
    dropout: float = 0.0
    name: Literal[
        "residual",
        "convolutional",
        "study-2022-ann",
        "study-2022-cnn",
        "six-class-cnn",
        "three-class-dcnn",
        "tuned-cnn",
        "course-cnn",
        "custom",
        "foreign",
    ] = added("residual")
    input_channels: int = added(1)
    standardize: bool = added(False)
    pool: Literal["average", "weighted"] = added("average")
    kernel: int = added(3)
    convolution: Literal["dense", "depthwise"] = added("dense")
    squeeze_excitation: int = added(0)
    kernels: tuple[int, ...] = added(())
    dense: tuple[int, ...] = added(())
    builder: str = added("")

    def feature_map_size(self, size: int) -> int:
        """Return height and width of the last stage's feature maps, for images of `size` pixels."""
        return math.ceil(size / (self.stem_stride << len(self.channels) - 1))


@dataclass(frozen=True)
class Training:
    """Optimizer and its hyperparameters.

    Attributes:
        epochs: passes over the training images.
        batch_size: batch size.
        optimizer: `sgd` (Nesterov momentum), `adam`, or `nadam` (Adam with Nesterov momentum).
        learning_rate: learning rate after the warm-up; [schedule] says how it decays.
        momentum: of sgd.
        warmup_epochs: epochs of linear warm-up from zero.
        weight_decay: L2 penalty on kernels, added to their gradient.
        label_smoothing: fraction of each label spread over all classes.
        ema_decay: decay per step of the exponential moving average (EMA) of the weights, which is what is saved; 0
            saves the last weights.
        precision: `auto` trains in mixed bfloat16 where the CPU supports it, else in float32.
        seed: of weight initialization, shuffling and augmentation.
        repeats: number of trainings, with consecutive seeds; the first is the run, the others are in its `repeats`.
        balanced_sampling: draw each class equally often in an epoch: images of rare classes are repeated, and not all
            images of frequent ones are used in each epoch.
    """

    epochs: int = 60
    batch_size: int = 128
    optimizer: Literal["sgd", "adam", "nadam"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    warmup_epochs: float = 3.0
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    ema_decay: float = 0.998
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 1
    repeats: int = added(1)
    balanced_sampling: bool = added(False)


EpochMetric = Literal["validation_accuracy", "validation_loss", "train_accuracy", "train_loss"]


@dataclass(frozen=True)
class Schedule:
    """Learning rate schedule, reduction on a plateau, early stopping and checkpoint selection.

    An epoch is an improvement if its monitored metric beats the best so far by more than `min_delta`.

    Attributes:
        shape: `cosine` decays to zero at the last epoch, `constant` does not decay.
        decay: the learning rate is multiplied by exp(-decay) in each epoch from `decay_from` (counted from 0) on.
        monitor: monitored metric, a column of history.csv.
        min_delta: smallest improvement; for accuracies a fraction.
        lr_patience: epochs without improvement after which the learning rate is multiplied by `lr_factor`; 0 never.
        min_lr: lower bound of the learning rate.
        early_stopping_patience: epochs without improvement after which training stops; 0 never.
        early_stopping_monitor: metric monitored for early stopping; empty uses `monitor`.
        keep_weights: save the weights of the last epoch, or of the best.
    """

    shape: Literal["cosine", "constant"] = "cosine"
    decay: float = 0.0
    decay_from: int = 0
    monitor: EpochMetric = "validation_accuracy"
    min_delta: float = 0.0
    lr_patience: int = 0
    lr_factor: float = 0.5
    min_lr: float = 0.0
    early_stopping_patience: int = 0
    early_stopping_monitor: Literal[EpochMetric, ""] = added("")
    keep_weights: Literal["last", "best"] = "last"

    @property
    def _active_metrics(self) -> list[str]:
        """The metrics that the schedule, early stopping or checkpoint selection depend on."""
        figures = [self.monitor] * (self.keep_weights == "best" or self.lr_patience > 0)
        return [*figures, *[self.early_stopping_monitor or self.monitor] * (self.early_stopping_patience > 0)]

    @property
    def uses_metrics(self) -> bool:
        """Whether the training depends on any metric of its epochs."""
        return bool(self._active_metrics)

    @property
    def uses_validation(self) -> bool:
        """Whether the training depends on a metric of the validation split."""
        return any(figure.startswith("validation") for figure in self._active_metrics)


@dataclass(frozen=True)
class Augmentation:
    """Random augmentation of training images; zero disables a transform.

    Attributes:
        flip: mirror each image with probability 0.5.
        shift: maximum translation, as a fraction of the width.
        scale: maximum relative change of size: 0.2 draws from 0.8 to 1.2.
        rotate: maximum angle, in degrees.
        brightness: maximum change of gain and of offset, as a fraction of the full range.
        erase: probability that a rectangle is replaced by noise (random erasing).
        zoom: maximum relative change of the visible region, drawn independently for height and width.
        shear: maximum shear angle of vertical lines, in degrees.
        mixup: parameter of Beta(mixup, mixup), from which the weight is drawn by which each image and its label are
            mixed with another of the batch; 0 disables it (Zhang et al., "mixup", 2018). A teacher's logits are mixed
            likewise.
        crop_size: side in pixels of the random square crops to train on, which costs less; 0 trains on full images.
            Evaluation is on full images. Only the residual network takes images of any size.
        full_image_epochs: number of last epochs on full images, to adapt to the resolution of evaluation (Touvron et
            al., "Fixing the train-test resolution discrepancy", 2019).
        progressive_sizes: sides in pixels that crops, or full images, are downscaled to, in ascending order, each for
            an equal part of the epochs before `full_image_epochs` (progressive learning; Tan and Le,
            "EfficientNetV2", 2021). Empty downscales none.
        interpolation: of the geometric transforms. `linear` blurs, which costs accuracy on sharp test images; `cubic`
            blurs much less.
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
    crop_size: int = added(0)
    full_image_epochs: int = added(0)
    progressive_sizes: tuple[int, ...] = added(())
    interpolation: Literal["linear", "cubic"] = added("linear")


@dataclass(frozen=True)
class Compression:
    """Compression of the trained network. Every variant starts from the dense float model.

    Attributes:
        variants: `dense`; `dense-mirror` (the same network, its probabilities averaged over each image and its mirror
            image; only with `augmentation.flip`); `pruned-N` (N percent of the kernels' weights are zero);
            `clustered-N` (at most N distinct values per kernel); `channels-N` (structured pruning of channels, which
            removes N percent of the multiply-adds); `qat` (quantization-aware training); `pruned-N-qat` and
            `channels-N-qat` (followed by QAT).
        epochs: fine-tuning epochs of each variant but dense.
        learning_rate: initial learning rate of the fine-tuning of `clustered-N` and `qat`.
        pruning_epochs: fine-tuning epochs of `pruned-N` and `channels-N`, which lose more accuracy; 0 uses `epochs`.
        pruning_learning_rate: their initial learning rate; 0 uses that of [training], or
            `learning_rate` for a network not trained here.
        distillation: weight in the fine-tuning loss of the distillation from the dense network; the rest is the loss
            against the labels. The temperature is that of [distillation].
    """

    variants: tuple[str, ...] = ("dense", "pruned-80", "qat")
    epochs: int = 6
    learning_rate: float = 0.01
    distillation: float = added(0.5)
    pruning_epochs: int = added(0)
    pruning_learning_rate: float = added(0.0)


@dataclass(frozen=True)
class Distillation:
    """Knowledge distillation from soft labels (train/soft_labels.py) or from teacher networks.

    Attributes:
        temperature: by which logits are divided before the softmax.
        weight: weight of the soft labels in the loss; the rest is the loss against the labels.
        teacher_weight: weight in the loss of the online distillation from teacher networks, which see the augmented
            batch; the rest is the loss without them.
    """

    temperature: float = 4.0
    weight: float = 0.7
    teacher_weight: float = added(0.6)


DEFAULT_FILES = (
    *(f"{precision}.tflite" for precision in ("float32", "float16", "dynamic-int8", "int8")),
    *(f"{precision}.onnx" for precision in ("float32", "dynamic-int8", "int8")),
)


@dataclass(frozen=True)
class Export:
    """Files to export of each variant, and their quantization.

    Attributes:
        files: `<precision>.<format>` of each variant, in the order of the manifest: `int8.onnx`. All that can be
            written are ARTIFACT_KINDS in inference/artifact.py.
        calibration_images: number of calibration images, stratified, from the training split.
        opset: of ONNX files; tf2onnx writes at most 18.
        calibration_method: calibration method for the activation ranges; see compress/ranges.py.
        reduce_range: 7-bit int8 kernels in ONNX, not 8-bit. On x86 CPUs without VNNI the 16-bit accumulation of two
            int8 products saturates with 8 bits, and the results are wrong.
        keep_float: layers that int8 files leave in float32, by their Keras names.
        max_drop: largest allowed loss of validation accuracy of an int8 file, in percentage points; where it is
            exceeded, layers return to float32, those with the largest error first. 0 sets no limit.
        temperature_scaling: divide the logits by the temperature that fits the probabilities to half of the validation
            images, where that lowers their calibration error; see export/temperature.py.
        licence: licence text in the files' metadata; a general one if empty.
        c_arithmetic: of C libraries: `xnnpack` answers as LiteRT with XNNPACK on x86, `tflm` as TensorFlow Lite Micro.
    """

    files: tuple[str, ...] = DEFAULT_FILES
    calibration_images: int = 512
    opset: int = 17
    calibration_method: Literal["min-max", "moving-average", "percentile", "entropy"] = added("min-max")
    reduce_range: bool = added(True)
    keep_float: tuple[str, ...] = added(())
    max_drop: float = added(0.0)
    licence: str = added("")
    c_arithmetic: Literal["xnnpack", "tflm"] = added("xnnpack")
    temperature_scaling: bool = added(False)


@dataclass(frozen=True)
class Recipe:
    """A complete recipe; `name` is by default the stem of its file."""

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
        """Return the recipe with all defaults as plain values; see `dataclass_io.to_plain`."""
        return dataclass_io.to_plain(self)

    def digest(self, *sections: str) -> str:
        """Return the SHA-256 of the named sections, which tells whether a checkpoint still belongs to the recipe."""
        value = self.to_json()
        text = json.dumps([value[section] for section in sections if section in value], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
