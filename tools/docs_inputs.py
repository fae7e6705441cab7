"""Small synthetic inputs under the names that README and docs/ use: data sets, pictures, networks from elsewhere."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
from device_models import draw_frame
from environment import ROOT

from feredge.data import drawn, drawn_shapes
from feredge.data.dataset import Dataset
from feredge.data.votes import VOTE_COLUMNS, VOTERS_PER_IMAGE
from feredge.keras import KerasModel, keras, tf

FACES = 490
SHAPES = 240
EPOCHS = 12  # of the networks from elsewhere
VOTE_COLUMN_BY_CLASS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprise": "surprise",
    "neutral": "neutral",
}


def write_inputs(folder: Path) -> None:
    """Write all inputs into an empty folder; models/ is a copy."""
    shutil.copytree(ROOT / "models", folder / "models")
    faces = drawn(FACES)
    _write_csv(folder / "fer2013.csv", faces)
    _write_votes(folder / "fer2013new.csv", faces)
    _write_class_folders(folder / "my_faces", faces, faces.classes)
    shapes = drawn_shapes(SHAPES)
    _write_class_folders(folder / "my_pictures", shapes, shapes.classes)
    _write_class_folders(folder / "pictures", shapes, ("cat", "dog", "horse"))
    for name in ("face.jpg", "a.png", "b.png"):
        cv2.imwrite(str(folder / name), faces.images[0])
    cv2.imwrite(str(folder / "photo.jpg"), np.ascontiguousarray(shapes.images[0][:, :, ::-1]))
    shutil.copy(folder / "models" / "nano" / "dense.int8.onnx", folder)
    shutil.copy(folder / "models" / "small" / "dense.int8.onnx", folder / "peer.onnx")
    cv2.imwrite(str(folder / "group.jpg"), draw_frame()[0])
    _write_networks(folder, faces, shapes)


def _write_csv(path: Path, faces: Dataset) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("emotion", "pixels", "Usage"))
        for label, image, usage in zip(faces.labels, faces.images, faces.usage, strict=True):
            rows.writerow((label, " ".join(map(str, image.ravel())), usage))


def _write_votes(path: Path, faces: Dataset) -> None:
    with path.open("w", newline="") as file:
        rows = csv.DictWriter(file, ("Usage", "Image name", *VOTE_COLUMNS), restval=0)
        rows.writeheader()
        for number, (label, usage) in enumerate(zip(faces.labels, faces.usage, strict=True)):
            column = VOTE_COLUMN_BY_CLASS[faces.classes[label]]
            named = {name.lower(): name for name in VOTE_COLUMNS}[column]
            rows.writerow({"Usage": usage, "Image name": f"fer{number:07}.png", named: VOTERS_PER_IMAGE})


def _write_class_folders(folder: Path, dataset: Dataset, names: tuple[str, ...]) -> None:
    """Write the images of the first classes as PNGs, in folders of these names."""
    for number, (label, image) in enumerate(zip(dataset.labels, dataset.images, strict=True)):
        if label < len(names):
            path = folder / names[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.ascontiguousarray(image[:, :, ::-1]))


def _write_networks(folder: Path, faces: Dataset, shapes: Dataset) -> None:
    """Write networks from elsewhere, trained for a few epochs, since untrained ones are refused."""
    import tf2onnx

    _train(faces, 64, len(faces.classes)).save(folder / "net.h5", include_optimizer=False)
    two_classes = _train(faces.take(faces.labels < 2), 64, 2)
    (folder / "net.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(two_classes).convert())
    three_classes = shapes.take(shapes.labels < 3)
    for name, size in (("net.onnx", 224), ("network.onnx", 48)):
        tf2onnx.convert.from_keras(_train(three_classes, size, 3), opset=17, output_path=str(folder / name))


def _train(dataset: Dataset, size: int, classes: int) -> KerasModel:
    """Return a network of pixels from -1 to 1, `float32 (N, size, size, C)`."""
    layers, channels = keras.layers, dataset.images.shape[-1]
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [
            keras.Input((size, size, channels)),
            layers.Conv2D(16, 5, strides=4, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(classes, activation="softmax"),
        ]
    )
    images = np.stack([cv2.resize(image, (size, size)) for image in dataset.images]).reshape(-1, size, size, channels)
    network.compile(keras.optimizers.legacy.Adam(3e-3), "sparse_categorical_crossentropy")
    network.fit(images / 127.5 - 1, dataset.labels, epochs=EPOCHS, batch_size=32, verbose=0)
    return network
