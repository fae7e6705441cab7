"""Small synthetic inputs under the names that README and docs/ use: data sets, pictures, networks from elsewhere."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
from device_models import draw_frame
from environment import ROOT
from onnx_graphs import write_cnn

from feredge.data import drawn, drawn_shapes
from feredge.data.dataset import Dataset
from feredge.data.votes import VOTE_COLUMNS, VOTERS_PER_IMAGE
from feredge.keras import keras, tf

FACES = 490
SHAPES = 240
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
    cv2.imwrite(str(folder / "group.jpg"), draw_frame()[0])
    _write_keras(folder)
    write_cnn(folder / "net.onnx", channels=3, size=224)
    write_cnn(folder / "network.onnx", channels=3, size=48)


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


def _write_keras(folder: Path) -> None:
    """Write net.h5, 64x64 gray to the seven expressions, and net.tflite, the same of two classes."""
    for name, classes in (("net.h5", 7), ("net.tflite", 2)):
        keras.utils.set_random_seed(1)
        layers = keras.layers
        network = keras.Sequential(
            [
                keras.Input((64, 64, 1)),
                layers.Conv2D(8, 3, strides=2, activation="relu"),
                layers.Conv2D(16, 3, strides=2, activation="relu"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(classes, activation="softmax"),
            ]
        )
        if name.endswith(".h5"):
            network.save(folder / name)
        else:
            (folder / name).write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
