"""TensorFlow Lite's own metadata: what Android's readers show and need, and where they find the labels.

The format is `metadata_schema.fbs` of the TensorFlow Lite Support library. It has no Python package for current
Pythons, so its tables are written here by their field numbers.
"""

from __future__ import annotations

from typing import Any

from feredge.inference.artifact import LABELS_FILE, Card
from feredge.inspection import flatbuffer

ENTRY = b"TFLITE_METADATA"
IDENTIFIER = b"M001"
LABELS_OF_AXIS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS
IMAGE_PROPERTIES, FEATURE_PROPERTIES = 2, 1  # of the union ContentProperties
NORMALIZATION = 1  # of the union ProcessUnitOptions
RGB, GRAYSCALE = 1, 2
PARSER = "1.0.0"  # the oldest that knows all that is used here
FIELDS = {
    "model": ("name", "description", "version", "subgraphs", "author", "license", "files", "parser"),
    "subgraph": ("name", "description", "inputs", "outputs"),
    "tensor": ("name", "description", "dimensions", "content", "units", "stats", "files"),
    "file": ("name", "description", "type", "locale"),
    "content": ("content", "properties", "range"),
    "image": ("color", "size"),
    "size": ("width", "height"),
    "unit": ("unit", "options"),
    "normalization": ("mean", "std"),
    "stats": ("max", "min"),
}
"""Fields of the tables used, in the schema's order, which is their numbers'."""


def with_metadata(model: bytes, card: Card) -> bytes:
    """Return a flatbuffer with the card's metadata in it. The zip archive with the labels comes behind it."""
    from ai_edge_litert import schema_py_generated as schema

    parsed = flatbuffer.parse(model)
    buffer = schema.BufferT()
    buffer.data = list(_metadata(card))
    entry = schema.MetadataT()
    entry.name, entry.buffer = ENTRY, len(parsed.buffers)
    parsed.buffers.append(buffer)
    parsed.metadata = [*(item for item in parsed.metadata or [] if item.name != ENTRY), entry]
    return flatbuffer.pack(parsed)


def _metadata(card: Card) -> bytes:
    import flatbuffers

    writer = _Writer(flatbuffers.Builder(1024))
    height, width, channels = card.contract.shape
    labels = writer.table(
        "file", name=LABELS_FILE, description="Class names in the order of the probabilities", type=(LABELS_OF_AXIS, 1)
    )
    color = "gray" if channels == 1 else "RGB"
    size = writer.table("size", width=(width, 4), height=(height, 4))
    image = writer.table("image", color=(GRAYSCALE if channels == 1 else RGB, 1), size=size)
    nothing = writer.table("normalization", mean=[0.0], std=[1.0])
    pixels = writer.table(
        "tensor",
        name="image",
        description=f"Raw {color} pixels of a face, 0 to 255, {height} x {width}",
        content=writer.table("content", content=(IMAGE_PROPERTIES, 1), properties=image),
        units=writer.vector([writer.table("unit", unit=(NORMALIZATION, 1), options=nothing)]),
        stats=writer.table("stats", max=[255.0], min=[0.0]),
    )
    features = writer.table("image")  # FeatureProperties has no fields either
    probabilities = writer.table(
        "tensor",
        name="probabilities",
        description="Probability of each class",
        content=writer.table("content", content=(FEATURE_PROPERTIES, 1), properties=features),
        stats=writer.table("stats", max=[1.0], min=[0.0]),
        files=writer.vector([labels]),
    )
    subgraph = writer.table("subgraph", inputs=writer.vector([pixels]), outputs=writer.vector([probabilities]))
    root = writer.table(
        "model",
        name=f"{card.recipe.get('name', 'network')} {card.variant} {card.precision}",
        description=f"Facial expressions: {', '.join(card.classes)}",
        version=card.source.get("weights", "")[:12],
        subgraphs=writer.vector([subgraph]),
        author="feredge",
        license=card.licence,
        parser=PARSER,
    )
    return writer.finish(root)


class _Reference(int):
    """Where a table or vector stands in the buffer."""


class _Writer:
    """A flatbuffer builder that takes tables by their field names."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def table(self, kind: str, **fields: Any) -> _Reference:
        """Write a table: strings, lists of floats, references, and integers as (value, bytes)."""
        builder = self._builder
        ready = {name: self._ready(value) for name, value in fields.items() if value != ""}
        builder.StartObject(len(FIELDS[kind]))
        for name, value in ready.items():
            slot = FIELDS[kind].index(name)
            if isinstance(value, tuple):
                number, width = value
                (builder.PrependInt8Slot if width == 1 else builder.PrependUint32Slot)(slot, number, 0)
            else:
                builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        return _Reference(builder.EndObject())

    def vector(self, references: list[_Reference]) -> _Reference:
        """Write a vector of tables."""
        self._builder.StartVector(4, len(references), 4)
        for reference in reversed(references):
            self._builder.PrependUOffsetTRelative(reference)
        return _Reference(self._builder.EndVector())

    def finish(self, root: _Reference) -> bytes:
        self._builder.Finish(root, IDENTIFIER)
        return bytes(self._builder.Output())

    def _ready(self, value: Any) -> Any:
        if isinstance(value, str):
            return _Reference(self._builder.CreateString(value))
        if isinstance(value, list):
            self._builder.StartVector(4, len(value), 4)
            for number in reversed(value):
                self._builder.PrependFloat32(number)
            return _Reference(self._builder.EndVector())
        return value
