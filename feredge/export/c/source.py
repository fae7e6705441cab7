"""The C library of an int8 TensorFlow Lite model: a source file, which needs only memcpy and memset, and its header."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from feredge.errors import ArtifactError
from feredge.export.c.arena import ALIGNMENT, Arena, longest_patch, plan
from feredge.export.c.layers import ARITHMETICS, Arithmetic, Layer, lower
from feredge.export.c.model import Model, read_model
from feredge.export.c.xnnpack import float_literal

KERNEL_FOLDER = Path(__file__).parent / "kernels"


@dataclass(frozen=True)
class Library:
    """A generated library.

    Attributes:
        source: the text of the `.c` file, which contains the header's.
        header: the text of the `.h` file.
        arena: the plan of its memory.
    """

    source: str
    header: str
    arena: Arena


def generate(
    model: bytes,
    *,
    name: str,
    classes: Sequence[str],
    arithmetic: Arithmetic = "xnnpack",
    mirrored: bool = False,
) -> Library:
    """Return the C library of a TensorFlow Lite model.

    Args:
        model: the flatbuffer, int8 throughout.
        name: of the library, in the names of its functions.
        classes: class names, in the order of the output.
        arithmetic: `xnnpack` answers bit for bit as LiteRT with XNNPACK on x86, `tflm` as TensorFlow Lite Micro.
        mirrored: average the outputs for each image and its mirror image, which run one after the other in one arena.

    Raises:
        ArtifactError: a model that `read_model` refuses, quantization that no kernel supports, or a number of classes
            other than the output's.
    """
    graph = read_model(model)
    symbol = "feredge_" + re.sub(r"\W", "_", name, flags=re.ASCII)
    image, output, operators = _interface(graph)
    if len(classes) != graph.tensors[output].shape[-1]:
        raise ArtifactError(f"expected {graph.tensors[output].shape[-1]} class names, found {len(classes)}")
    layers = [layer for number in operators for layer in lower(graph, number, arithmetic)]
    aliases = {operator.output: operator.inputs[0] for operator in graph.operators if operator.name == "RESHAPE"}
    used = {image, output, *aliases, *aliases.values(), *(index for layer in layers for index in layer.inputs)}
    sizes = {index: graph.tensors[index].size for index in used | {layer.output for layer in layers}}
    arena = plan(layers, sizes, aliases, image, output)
    header = _header(graph, symbol, arena, _constant_bytes(layers), image, output)
    parts = [
        (KERNEL_FOLDER / "includes.h").read_text(encoding="utf-8"),
        header,
        f"#define FEREDGE_DEPTH {longest_patch(layers)} /* of the longest patch */",
        *_kernels(layers, arithmetic),
        *(layer.constants for layer in layers if layer.constants),
        _functions(graph, symbol, layers, arena, image, output, classes, mirrored=mirrored),
    ]
    return Library("\n\n".join(part.strip() for part in parts) + "\n", header, arena)


def _interface(graph: Model) -> tuple[int, int, list[int]]:
    """Return the int8 tensors of the image and of the output, and the operators between them."""
    operators = list(range(len(graph.operators)))
    if not operators or graph.operators[0].name != "QUANTIZE" or graph.operators[0].inputs[0] != graph.input:
        raise ArtifactError("expected a graph that begins with the conversion of uint8 pixels to int8, found another")
    if sum(index == graph.input for operator in graph.operators for index in operator.inputs) != 1:
        raise ArtifactError("expected a graph that reads its pixels once, found another")
    image, output = graph.operators[0].output, graph.output
    _require_shifted(graph, graph.input, image)
    operators = operators[1:]
    if graph.tensors[output].dtype != "int8":
        last = graph.operators[operators[-1]] if operators else graph.operators[0]
        if last.output != output or last.name not in ("QUANTIZE", "DEQUANTIZE"):
            raise ArtifactError("expected a graph that ends with the conversion of its int8 output, found another")
        output, operators = last.inputs[0], operators[:-1]
        if graph.tensors[graph.output].dtype == "uint8":
            _require_shifted(graph, graph.output, output)
    computed = {image, *(graph.operators[number].output for number in operators)}
    if not operators or output not in computed:
        raise ArtifactError("expected a graph that computes its output, found another")
    return image, output, operators


def _require_shifted(graph: Model, unsigned: int, signed: int) -> None:
    first, second = graph.tensors[unsigned], graph.tensors[signed]
    if first.dtype != "uint8" or (first.scale, first.zero_point - 128) != (second.scale, second.zero_point):
        raise ArtifactError(
            f"expected uint8 and int8 of one scale, 128 apart, found {first.scale:g} and {second.scale:g}"
        )


def _kernels(layers: list[Layer], arithmetic: Arithmetic) -> list[str]:
    kernels = (name for layer in layers for name in layer.kernels)
    names = dict.fromkeys(("base.h", ARITHMETICS[arithmetic].KERNEL_FILE, *kernels))
    return [(KERNEL_FOLDER / name).read_text(encoding="utf-8") for name in names]


def _constant_bytes(layers: list[Layer]) -> int:
    """Return the size of the layers' constant arrays."""
    text = "\n".join(layer.constants for layer in layers)
    arrays = re.findall(r"^static const FEREDGE_ALIGNED (\w+) \w+\[(\d+)\]", text, re.MULTILINE)
    return sum((1 if kind == "int8_t" else 4) * int(length) for kind, length in arrays)


def _header(graph: Model, symbol: str, arena: Arena, constant_bytes: int, image: int, output: int) -> str:
    pixels, result = graph.tensors[image], graph.tensors[output]
    height, width, channels = pixels.shape[1:]
    upper = symbol.upper()
    return f"""\
#ifndef {upper}_H
#define {upper}_H

#include <stdint.h>

#define {upper}_HEIGHT {height}
#define {upper}_WIDTH {width}
#define {upper}_CHANNELS {channels}
#define {upper}_CLASSES {result.shape[-1]}
/* Of RAM; of weights and tables in flash, beside the code. */
#define {upper}_ARENA_BYTES {arena.bytes}
#define {upper}_CONSTANT_BYTES {constant_bytes}

/* Of the int8 output: probability = (output - ZERO_POINT) * SCALE. */
#define {upper}_OUTPUT_SCALE {float_literal(result.scale)}
#define {upper}_OUTPUT_ZERO_POINT ({result.zero_point})

#ifdef __cplusplus
extern "C" {{
#endif

/* Class names, in the order of the output. */
extern const char *const {symbol}_classes[{upper}_CLASSES];

#ifndef FEREDGE_NO_STATIC_ARENA
/* Classify pixels[HEIGHT][WIDTH][CHANNELS], 0 to 255, into probabilities[CLASSES]; either may be NULL.
   Returns the index of the most probable class, or -1 without pixels. Not reentrant: it has one arena. */
int {symbol}_predict(const uint8_t *pixels, float *probabilities);
#endif

/* The same in an arena of ARENA_BYTES, aligned to {ALIGNMENT} bytes: reentrant with an arena for each caller. */
int {symbol}_predict_in(void *arena, const uint8_t *pixels, float *probabilities);

/* The same in int8: the image is pixels - 128, the output is quantized. */
int {symbol}_predict_int8(void *arena, const int8_t *image, int8_t *output);

#ifdef __cplusplus
}}
#endif

#endif
"""


def _functions(
    graph: Model,
    symbol: str,
    layers: list[Layer],
    arena: Arena,
    image: int,
    output: int,
    classes: Sequence[str],
    *,
    mirrored: bool,
) -> str:
    upper = symbol.upper()

    def address(offset: int) -> str:
        return f"arena + {offset}"

    calls = "\n    ".join(
        layer.call.format(
            *(address(arena.offsets[index]) for index in layer.inputs),
            output=address(arena.offsets[layer.output]),
            scratch=address(scratch),
        )
        for layer, scratch in zip(layers, arena.scratch, strict=True)
    )
    names = ", ".join(c_string(name) for name in classes)
    size = graph.tensors[image].size
    view = _SecondView(symbol, graph.tensors[image].shape) if mirrored else None
    return f"""\
const char *const {symbol}_classes[{upper}_CLASSES] = {{{names}}};

/* The layers, from the image at arena + {arena.offsets[image]} to the output at arena + {arena.offsets[output]}. */
static int {symbol}_run(int8_t *arena, int8_t *output)
{{
    int best = 0;
    {calls}
    memcpy(output, arena + {arena.offsets[output]}, {upper}_CLASSES);
    for (int i = 1; i < {upper}_CLASSES; i++)
        best = output[i] > output[best] ? i : best;
    return best;
}}
{view.average if view else ""}
int {symbol}_predict_int8(void *arena, const int8_t *image, int8_t *output)
{{
    if (!arena || !image || !output)
        return -1;
    memcpy((int8_t *)arena + {arena.offsets[image]}, image, {size});
{view.predict(f"(int8_t *)arena + {arena.offsets[image]}", "image[{}]") if view else ""}\
    return {f"{symbol}_average(output, mirrored)" if view else f"{symbol}_run((int8_t *)arena, output)"};
}}

int {symbol}_predict_in(void *arena, const uint8_t *pixels, float *probabilities)
{{
    int8_t output[{upper}_CLASSES];
    int8_t *image = (int8_t *)arena + {arena.offsets[image]};
    int best;
    if (!arena || !pixels)
        return -1;
    for (int i = 0; i < {size}; i++)
        image[i] = (int8_t)(pixels[i] - 128);
{view.predict("image", "(int8_t)(pixels[{}] - 128)") if view else ""}\
    best = {f"{symbol}_average(output, mirrored)" if view else f"{symbol}_run((int8_t *)arena, output)"};
    for (int i = 0; probabilities && i < {upper}_CLASSES; i++)
        probabilities[i] = (float)(output[i] - {upper}_OUTPUT_ZERO_POINT) * {upper}_OUTPUT_SCALE;
    return best;
}}

#ifndef FEREDGE_NO_STATIC_ARENA
int {symbol}_predict(const uint8_t *pixels, float *probabilities)
{{
    static FEREDGE_ALIGNED int8_t arena[{upper}_ARENA_BYTES];
    return {symbol}_predict_in(arena, pixels, probabilities);
}}
#endif
"""


@dataclass(frozen=True)
class _SecondView:
    """The code that classifies the mirror image too.

    Attributes:
        shape: of the image, (1, H, W, C).
    """

    symbol: str
    shape: tuple[int, ...]

    @property
    def average(self) -> str:
        """The function that averages both outputs as TensorFlow Lite does, and returns the most probable class."""
        upper = self.symbol.upper()
        return f"""
static int {self.symbol}_average(int8_t *output, const int8_t *mirrored)
{{
    int best = 0;
    for (int i = 0; i < {upper}_CLASSES; i++) {{
        int sum = output[i] + mirrored[i] + 256; /* not negative */
        output[i] = (int8_t)((sum >> 1) + (sum & (sum >> 1) & 1) - 128); /* a half is rounded to even */
        best = output[i] > output[best] ? i : best;
    }}
    return best;
}}
"""

    def predict(self, image: str, pixel: str) -> str:
        """Return the statements that run the network on the loaded image, and then on its mirror image.

        Args:
            image: C expression of the image in the arena, which a run may overwrite.
            pixel: C expression of a source pixel in int8, with `{}` for its index.
        """
        _, height, width, channels = self.shape
        source = pixel.format(f"i + {channels} * ({width - 1} - 2 * (i / {channels} % {width}))")
        return f"""\
    int8_t mirrored[{self.symbol.upper()}_CLASSES], *second = {image};
    {self.symbol}_run((int8_t *)arena, output);
    for (int i = 0; i < {height * width * channels}; i++)
        second[i] = {source};
    {self.symbol}_run((int8_t *)arena, mirrored);
"""


def c_string(text: str) -> str:
    """Return a C string literal of a text in UTF-8, without trigraphs."""
    escaped = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode()
    )
    return f'"{escaped}"'
