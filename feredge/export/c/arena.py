"""Places of the tensors in one block of memory, shared by those that are not needed at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from feredge.export.c.layers import PATCH_COUNT, Layer

ALIGNMENT = 16  # bytes: kernels load vectors of this size


@dataclass(frozen=True)
class Arena:
    """A planned block of memory.

    Attributes:
        offsets: of each tensor, in bytes.
        scratch: offset of each layer's scratch memory.
        bytes: the block's size.
        lower_bound: the most bytes that are needed at one time: no plan is smaller.
    """

    offsets: dict[int, int]
    scratch: tuple[int, ...]
    bytes: int
    lower_bound: int


@dataclass
class _Buffer:
    """Memory for tensors that take each other's place, or for a layer's scratch: needed from `first` to `last`."""

    size: int
    first: int
    last: int
    offset: int = 0


def plan(layers: Sequence[Layer], sizes: dict[int, int], aliases: dict[int, int], image: int, output: int) -> Arena:
    """Place all tensors.

    Args:
        layers: in order.
        sizes: of the tensors, in bytes.
        aliases: by tensor, the one whose memory it is: of reshapes.
        image, output: the tensors that are there before the first layer and after the last.
    """
    resolve = _resolver(aliases)
    last_use = {resolve(output): len(layers)}
    for number, layer in enumerate(layers):
        for index in layer.inputs:
            root = resolve(index)
            last_use[root] = max(last_use.get(root, 0), number)
    buffers = {resolve(image): _Buffer(_aligned(sizes[image]), -1, last_use.get(resolve(image), 0))}
    scratch = []
    for number, layer in enumerate(layers):
        target = resolve(layer.output)
        last = last_use.get(target, number)
        reused = next(_replaceable(layer, number, buffers, resolve, last_use), None)
        if reused is not None and reused.size >= _aligned(sizes[layer.output]):
            reused.last = last
            buffers[target] = reused
        else:
            buffers[target] = _Buffer(_aligned(sizes[layer.output]), number, last)
        scratch.append(_Buffer(_aligned(scratch_bytes(layer, longest_patch(layers))), number, number))
    unique = list({id(buffer): buffer for buffer in (*buffers.values(), *scratch) if buffer.size}.values())
    _place(unique)
    tensors = {index: buffers[resolve(index)].offset for index in sizes if resolve(index) in buffers}
    total = max(buffer.offset + buffer.size for buffer in unique)
    return Arena(tensors, tuple(buffer.offset for buffer in scratch), total, _lower_bound(unique, len(layers)))


def longest_patch(layers: Sequence[Layer]) -> int:
    """Return the bytes between a convolution's patches in its scratch memory: one distance for all, a constant in C."""
    return max((layer.patch_bytes for layer in layers), default=0)


def scratch_bytes(layer: Layer, distance: int) -> int:
    """Return the scratch memory of a layer: of a convolution, PATCH_COUNT patches."""
    return (PATCH_COUNT - 1) * distance + layer.patch_bytes if layer.patch_bytes else 0


def _resolver(aliases: dict[int, int]) -> Callable[[int], int]:
    def resolve(index: int) -> int:
        while index in aliases:
            index = aliases[index]
        return index

    return resolve


def _replaceable(
    layer: Layer, number: int, buffers: dict[int, _Buffer], resolve: Callable[[int], int], last_use: dict[int, int]
) -> Iterator[_Buffer]:
    """Give the buffers of the inputs that nothing reads after an element-wise layer."""
    if layer.in_place:
        for index in layer.inputs:
            if last_use[resolve(index)] == number:
                yield buffers[resolve(index)]


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _lower_bound(buffers: list[_Buffer], count: int) -> int:
    return max(
        sum(buffer.size for buffer in buffers if buffer.first <= time <= buffer.last) for time in range(-1, count + 1)
    )


def _place(buffers: list[_Buffer]) -> None:
    """Give each buffer, the largest first, the lowest offset that no buffer of the same time takes."""
    placed: list[_Buffer] = []
    for buffer in sorted(buffers, key=lambda item: (-item.size, item.first)):
        offset = 0
        for other in sorted(placed, key=lambda item: item.offset):
            if other.first > buffer.last or other.last < buffer.first:
                continue
            if other.offset >= offset + buffer.size:
                break
            offset = max(offset, other.offset + other.size)
        buffer.offset = offset
        placed.append(buffer)
