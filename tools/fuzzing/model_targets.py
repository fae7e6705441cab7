"""Fuzz targets: model files, networks of Keras, and manifests."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from feredge.errors import FeredgeError
from fuzzing.target import NANO_MODEL, Corpus, Run, raise_last_refusal


def model_corpus(folder: Path) -> Corpus:
    """Return the smallest models, and a trained one, in every format of artifacts."""
    from device_models import card, write_onnx, write_tflite

    from feredge.export.onnx.ort import to_ort

    onnx = write_onnx(folder / "seed.onnx", with_card=card()).read_bytes()
    models = {
        "seed.onnx": onnx,
        "seed.tflite": write_tflite(folder / "seed.tflite", with_card=card()).read_bytes(),
        "seed.ort": to_ort(onnx),
    }
    for path in sorted(NANO_MODEL.glob("dense.int8.*")):
        models[path.name] = path.read_bytes()
    return models


def corpus_of(suffix: str) -> Callable[[Path], Corpus]:
    """Return a function that makes the model files of one suffix."""
    return lambda folder: {name: data for name, data in model_corpus(folder).items() if name.endswith(suffix)}


def prepare_models(_: Path) -> Run:
    """Run a model file in a Predictor, then read it as `feredge inspect` does in its child process."""
    import numpy as np

    from feredge import Predictor, errors
    from feredge.inspection.child_main import respond
    from feredge.inspection.limits import Limits

    def predict(path: Path) -> None:
        with Predictor(path, threads=1) as predictor:
            predictor(np.zeros((48, 48), np.uint8))
            predictor.batch([np.zeros((60, 60, 3), np.uint8)] * 3)

    def inspect(path: Path) -> None:
        limits = dataclasses.asdict(Limits())
        request = {"function": "feredge.api.inspecting:read_model", "arguments": {"model": str(path)}, "limits": limits}
        response = respond(request)
        json.dumps(response)
        if "error" in response:  # of any class: the parent makes one line of it
            raise getattr(errors, response["error"], FeredgeError)(response["text"])

    return lambda path, _: raise_last_refusal(lambda: predict(path), lambda: inspect(path))


def c_corpus(_: Path) -> Corpus:
    """Return int8 models of few operators, and a trained one, without cards."""
    from one_operator import GraphBuilder, convolution

    from feredge.bundles.source import open_source

    graph = GraphBuilder()
    first = convolution(graph, graph.image((9, 7, 3)), 6)
    pooled = graph.operator(
        "MEAN", [first, graph.constant([1, 2])], graph.int8((1, 6), 0.03, -20), "ReducerOptions", keepDims=False
    )
    last = graph.operator("SOFTMAX", [pooled], graph.tensor((1, 6), "INT8", 1 / 256, -128), "SoftmaxOptions", beta=1.0)
    return {"small.flatbuffer": graph.finish(last), "nano.flatbuffer": open_source(NANO_MODEL).flatbuffer}


def prepare_c(_: Path) -> Run:
    """Generate the C library of a model in both arithmetics."""
    from feredge.export.c.model import read_model
    from feredge.export.c.source import generate

    def run(_: Path, data: bytes) -> None:
        model = read_model(data)
        classes = [f"class {number}" for number in range(model.tensors[model.output].shape[-1])]
        raise_last_refusal(
            lambda: generate(data, name="net", classes=classes, arithmetic="xnnpack"),
            lambda: generate(data, name="net", classes=classes, arithmetic="tflm"),
        )

    return run


def keras_corpus(suffix: str) -> Callable[[Path], Corpus]:
    """Return a function that makes files of Keras 2 and Keras 3 with this suffix."""

    def make(folder: Path) -> Corpus:
        import keras as keras3  # type: ignore[import-untyped] # noqa: TID251 - writes files of other programs

        from feredge.keras import keras as keras2

        corpus = {}
        for name, library in (("keras2", keras2), ("keras3", keras3)):
            layers = library.layers
            pixels = library.Input((16, 16, 1))
            x = layers.Conv2D(4, 3, activation="relu")(pixels)
            x = layers.BatchNormalization()(x)
            x = layers.MaxPooling2D()(x)
            x = layers.Flatten()(x)
            network = library.Model(pixels, layers.Dense(7, activation="softmax")(x))
            network.save(folder / f"{name}{suffix}")
            corpus[f"{name}{suffix}"] = (folder / f"{name}{suffix}").read_bytes()
        return corpus

    return make


def prepare_keras(_: Path) -> Run:
    """Open a network as `feredge export` does."""
    from feredge.importing.keras_file import open_network

    return lambda path, _: open_network(path)


def manifest_corpus(folder: Path) -> Corpus:
    """Return the manifest of a reference model."""
    return {"manifest.json": (NANO_MODEL / "manifest.json").read_bytes()}


def prepare_manifest(folder: Path) -> Run:
    """Read a manifest beside the files it names, and open the folder."""
    from feredge.inference.artifact import Manifest
    from feredge.inference.runtimes import open_checked

    for path in NANO_MODEL.glob("dense.*"):
        (folder / path.name).symlink_to(path)

    def run(path: Path, _: bytes) -> None:
        path.replace(folder / "manifest.json")
        raise_last_refusal(lambda: Manifest.read(folder), lambda: open_checked(folder))

    return run
