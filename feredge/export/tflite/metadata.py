"""TensorFlow Lite metadata, as Android's libraries read it: description, input normalization, label file.

The format is `metadata_schema.fbs` of the TensorFlow Lite Support library, which has no package for current Python
versions. So its tables are written here by field numbers.
"""

from __future__ import annotations

from typing import Any

from feredge.inference.artifact import Card
from feredge.inference.embedded_card import LABELS_FILE
from feredge.inspection import flatbuffer

METADATA_ENTRY = b"TFLITE_METADATA"
FILE_IDENTIFIER = b"M001"
TENSOR_AXIS_LABELS = 2  # of the enumeration AssociatedFileType
IMAGE_PROPERTIES, FEATURE_PROPERTIES = 2, 1  # of the union ContentProperties
NORMALIZATION_OPTIONS = 1  # of the union ProcessUnitOptions
RGB_COLOR, GRAYSCALE_COLOR = 1, 2  # of the enumeration ColorSpaceType
MIN_PARSER_VERSION = "1.0.0"
TABLE_FIELDS = {
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
"""Field names by table, in the schema's order: a field's index is its number."""


def with_metadata(model: bytes, card: Card) -> bytes:
    """Return a flatbuffer with metadata from the card; the zip archive with the labels is appended later."""
    from ai_edge_litert import schema_py_generated as schema

    parsed = flatbuffer.parse(model)
    buffer = schema.BufferT()
    buffer.data = list(_metadata(card))
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_ENTRY, len(parsed.buffers)
    parsed.buffers.append(buffer)
    parsed.metadata = [*(item for item in parsed.metadata or [] if item.name != METADATA_ENTRY), entry]
    return flatbuffer.pack(parsed)


def _metadata(card: Card) -> bytes:
    import flatbuffers

    writer = _Writer(flatbuffers.Builder(1024))
    height, width, channels = card.contract.shape
    labels = writer.table(
        "file",
        name=LABELS_FILE,
        description="Class names in the order of the probabilities",
        type=(TENSOR_AXIS_LABELS, 1),
    )
    color = "gray" if channels == 1 else "RGB"
    size = writer.table("size", width=(width, 4), height=(height, 4))
    image = writer.table("image", color=(GRAYSCALE_COLOR if channels == 1 else RGB_COLOR, 1), size=size)
    identity = writer.table("normalization", mean=[0.0], std=[1.0])
    pixels = writer.table(
        "tensor",
        name="image",
        description=f"Raw {color} pixels of a face, 0 to 255, {height} x {width}",
        content=writer.table("content", content=(IMAGE_PROPERTIES, 1), properties=image),
        units=writer.vector([writer.table("unit", unit=(NORMALIZATION_OPTIONS, 1), options=identity)]),
        stats=writer.table("stats", max=[255.0], min=[0.0]),
    )
    features = writer.table("image")  # an empty table, as FeatureProperties has no fields
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
        parser=MIN_PARSER_VERSION,
    )
    return writer.finish(root)


class _Reference(int):
    """Offset of a table or vector in the buffer."""


class _Writer:
    """A flatbuffer builder with field names."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def table(self, kind: str, **fields: Any) -> _Reference:
        """Write a table of strings, lists of floats, references, and integers as (value, size in bytes)."""
        builder = self._builder
        stored = {name: self._store(value) for name, value in fields.items() if value != ""}
        builder.StartObject(len(TABLE_FIELDS[kind]))
        for name, value in stored.items():
            slot = TABLE_FIELDS[kind].index(name)
            if isinstance(value, tuple):
                number, size_bytes = value
                (builder.PrependInt8Slot if size_bytes == 1 else builder.PrependUint32Slot)(slot, number, 0)
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
        """Return the buffer, with `root` as its root table."""
        self._builder.Finish(root, FILE_IDENTIFIER)
        return bytes(self._builder.Output())

    def _store(self, value: Any) -> Any:
        """Write a string or list and return its reference; return any other value as it is."""
        if isinstance(value, str):
            return _Reference(self._builder.CreateString(value))
        if isinstance(value, list):
            self._builder.StartVector(4, len(value), 4)
            for number in reversed(value):
                self._builder.PrependFloat32(number)
            return _Reference(self._builder.EndVector())
        return value
