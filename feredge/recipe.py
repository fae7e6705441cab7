"""Recipes: one small TOML file says what to train on, what to train, and what to export.

A recipe is read into frozen dataclasses. An unknown key is an error that names the nearest known one. The
recipes that come with feredge are in feredge/recipes/; `load` takes their names, or the path of your own.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from feredge.errors import RecipeError

FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class DataView:
    """Which part of a data set is used, and how it is split.

    Attributes:
        size: height and width of the network's input, in pixels.
        holdout: share of the training images set aside, class by class, where the data set brings no
            validation split of its own. Selection uses it; the test split is for the final figure only.
        drop_duplicates: leave out training images that also stand in another split.
        seed: of every random split.
    """

    size: int = 48
    holdout: float = 0.05
    drop_duplicates: bool = True
    seed: int = 1


@dataclass(frozen=True)
class Network:
    """A dense 3x3 residual network: a stem, stages of residual blocks, global average pooling, one dense layer.

    Attributes:
        stem: channels of the first convolution.
        stem_stride: its stride; 2 halves the picture before any costly layer.
        channels: channels of each stage; every stage after the first halves height and width.
        blocks: residual blocks (two 3x3 convolutions each) in each stage.
        dropout: share of the pooled features zeroed in training.
    """

    stem: int = 32
    stem_stride: int = 2
    channels: tuple[int, ...] = (32, 32, 64)
    blocks: tuple[int, ...] = (1, 1, 1)
    dropout: float = 0.0


@dataclass(frozen=True)
class Training:
    """How weights are fitted.

    Attributes:
        epochs: passes over the training images.
        batch: images a step.
        optimizer: `sgd` (Nesterov momentum) or `adam`.
        rate: learning rate after the warm-up; it falls to zero along a cosine.
        momentum: of sgd.
        warmup: epochs over which the rate rises from zero.
        weight_decay: L2 penalty on kernels, added to their gradient.
        label_smoothing: share of each label spread over all classes.
        averaging: decay a step of the exponential moving average of weights that is kept; 0 keeps the last.
        precision: `auto` trains in mixed bfloat16 where the CPU has it, else float32.
        seed: of weights, order and augmentation.
    """

    epochs: int = 60
    batch: int = 128
    optimizer: Literal["sgd", "adam"] = "sgd"
    rate: float = 0.1
    momentum: float = 0.9
    warmup: float = 3.0
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    averaging: float = 0.998
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 1


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
    """

    flip: bool = True
    shift: float = 0.1
    scale: float = 0.2
    rotate: float = 12.0
    brightness: float = 0.2
    erase: float = 0.25


@dataclass(frozen=True)
class Compression:
    """What is done to trained weights. Every variant starts from the dense float model.

    Attributes:
        variants: `dense`, `pruned-N` (N percent of every kernel zero), `qat` (quantization-aware training).
        epochs: fine-tuning passes of each variant but dense.
        rate: learning rate at the start of the fine-tuning.
    """

    variants: tuple[str, ...] = ("dense", "pruned-80", "qat")
    epochs: int = 6
    rate: float = 0.01


@dataclass(frozen=True)
class Export:
    """What is written.

    Attributes:
        precisions: of PRECISIONS in artifact.py; `float16` is written as TFLite only.
        formats: `tflite`, `onnx`.
        calibration: images of the training split, class by class, that set the int8 ranges.
        opset: of ONNX files; tf2onnx writes at most 18.
    """

    precisions: tuple[str, ...] = ("float32", "float16", "dynamic-int8", "int8")
    formats: tuple[str, ...] = ("tflite", "onnx")
    calibration: int = 512
    opset: int = 17


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

    def to_json(self) -> dict[str, Any]:
        """Return the resolved recipe as plain values, every default spelled out."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]

    def digest(self, *sections: str) -> str:
        """Return a SHA-256 over the named sections: it changes when, and only when, their result would."""
        value = self.to_json()
        text = json.dumps([value[section] for section in sections], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def names() -> list[str]:
    """Return the names of the recipes that come with feredge."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str | Path, *, changes: Iterable[str] = ()) -> Recipe:
    """Read a recipe by name, or by the path of a `.toml` file.

    Args:
        name: one of `names()`, or a path that ends in `.toml`.
        changes: settings that replace the file's, each `section.key=value` with a TOML value:
            `training.epochs=5`, `compression.variants=["dense"]`.

    Raises:
        RecipeError: no such recipe (the nearest name is suggested), not TOML, or a key or value that a
            recipe cannot hold.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if str(name) not in names():
            raise RecipeError(f"unknown recipe {str(name)!r}{_nearest(str(name), names())}")
        path = FOLDER / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: expected a recipe, cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: expected TOML ({error})") from error
    table.setdefault("name", path.stem)
    for change in changes:
        _apply(change, table)
    recipe: Recipe = _read(Recipe, table, str(path))
    _check(recipe, str(path))
    return recipe


def dump(recipe: Recipe) -> str:
    """Return the resolved recipe as TOML that `load` reads back to an equal recipe."""
    import tomli_w

    return tomli_w.dumps(recipe.to_json())


def _apply(change: str, table: dict[str, Any]) -> None:
    """Put one `section.key=value` into the parsed recipe, where the ordinary checks will see it."""
    key, equals, text = change.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise RecipeError(f"expected section.key=value, found {change!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string, because shells eat the quotes
    inner = table.setdefault(section, {})
    if not isinstance(inner, dict):
        raise RecipeError(f"expected a section before the dot, found {change!r}")
    inner[name] = value


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"


def _read(kind: type, value: Any, where: str) -> Any:
    """Turn TOML values into the dataclass `kind`, with every key and type checked."""
    if not isinstance(value, dict):
        raise RecipeError(f"{where}: expected a table, found {value!r}")
    hints = typing.get_type_hints(kind)
    for key in value:
        if key not in hints:
            raise RecipeError(f"{where}: unknown key {key!r}{_nearest(key, list(hints))}")
    return kind(**{key: _value(hints[key], item, f"{where}: {key}") for key, item in value.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _read(hint, value, where)  # type: ignore[arg-type]
    origin = typing.get_origin(hint)
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise RecipeError(f"{where}: expected one of {', '.join(map(str, typing.get_args(hint)))}, found {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise RecipeError(f"{where}: expected a list, found {value!r}")
        return tuple(_value(typing.get_args(hint)[0], item, where) for item in value)
    if isinstance(hint, types.UnionType):
        raise TypeError(f"{where}: recipes hold no unions")
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        raise RecipeError(f"{where}: expected {hint.__name__}, found {value!r}")
    if hint is float and not math.isfinite(value):
        raise RecipeError(f"{where}: expected a finite number, found {value!r}")
    return value


def _check(recipe: Recipe, where: str) -> None:
    """Refuse values that have the right type and no meaning, before any slow work."""
    network, training, augmentation = recipe.network, recipe.training, recipe.augmentation
    seeds = recipe.data.seed, training.seed
    rules = (
        (8 <= recipe.data.size <= 512, "data.size from 8 to 512"),
        (min(seeds) >= 0 and max(seeds) < 2**32, f"seeds from 0 to {2**32 - 1}"),
        (0.0 <= recipe.data.holdout <= 0.5, "data.holdout from 0 to 0.5"),
        (
            len(network.channels) == len(network.blocks) > 0,
            "one entry of network.blocks for each of network.channels",
        ),
        (
            min((*network.channels, *network.blocks, network.stem)) >= 1,
            "network channels and blocks of at least 1",
        ),
        (network.stem_stride in (1, 2), "network.stem_stride 1 or 2"),
        (0.0 <= network.dropout < 1.0, "network.dropout from 0 to under 1"),
        (training.epochs >= 1 and training.batch >= 1, "training.epochs and training.batch of at least 1"),
        (training.rate > 0.0 and recipe.compression.rate > 0.0, "rates above 0"),
        (0.0 <= training.momentum < 1.0, "training.momentum from 0 to under 1"),
        (0.0 <= training.warmup <= training.epochs, "training.warmup from 0 to training.epochs"),
        (training.weight_decay >= 0.0, "training.weight_decay of at least 0"),
        (0.0 <= training.label_smoothing < 1.0, "training.label_smoothing from 0 to under 1"),
        (0.0 <= training.averaging < 1.0, "training.averaging from 0 to under 1"),
        (
            0.0 <= augmentation.shift < 1.0 and 0.0 <= augmentation.scale < 1.0,
            "shift and scale from 0 to under 1",
        ),
        (
            0.0 <= augmentation.brightness <= 1.0 and 0.0 <= augmentation.erase <= 1.0,
            "brightness and erase from 0 to 1",
        ),
        (0.0 <= augmentation.rotate <= 180.0, "augmentation.rotate from 0 to 180"),
        (recipe.compression.epochs >= 1, "compression.epochs of at least 1"),
        (recipe.export.calibration >= 1, "export.calibration of at least 1"),
        (13 <= recipe.export.opset <= 18, "export.opset from 13 to 18"),
    )
    for holds, expected in rules:
        if not holds:
            raise RecipeError(f"{where}: expected {expected}")
    for variant in recipe.compression.variants:
        _check_variant(variant, where)
    from feredge.artifact import FORMATS, PRECISIONS

    for values, known, key in (
        (recipe.export.precisions, PRECISIONS, "export.precisions"),
        (recipe.export.formats, FORMATS, "export.formats"),
    ):
        for value in values:
            if value not in known:
                raise RecipeError(f"{where}: {key}: unknown {value!r}{_nearest(value, list(known))}")


def _check_variant(variant: str, where: str) -> None:
    if variant in ("dense", "qat"):
        return
    kind, _, percent = variant.partition("-")
    if kind != "pruned" or not percent.isdecimal() or not 1 <= int(percent) <= 99:
        raise RecipeError(f"{where}: expected a variant dense, qat or pruned-1 to pruned-99, found {variant!r}")
