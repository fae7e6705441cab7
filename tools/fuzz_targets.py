"""What tools/fuzz damages: for each target its whole files, how they are opened, and the parsers that must be reached.

Targets of one group are opened in forked children of one process, which has imported what they need and run none of it:
libraries start their threads when they are first used, and threads do not survive a fork.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import importlib.util
import io
import json
import logging
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environment

from feredge.errors import FeredgeError

Seeds = dict[str, bytes]
"""Whole files by name."""
Run = Callable[[Path, bytes], None]
"""Opens one case, from its file or its bytes; raises FeredgeError where it is refused."""
MODELS = environment.ROOT / "models" / "nano"
HTTP_BOUNDARY = "xyz"
PROBED_FILES = {"dense.int8.onnx": 7, "dense.int8.tflite": 7}

REACHED: set[str] = set()
"""Parsers that the case under way has reached."""


@dataclass(frozen=True)
class Parser:
    """A function whose calls show that a case came past magic, lengths and digests.

    Attributes:
        place: `module:name` or `module:Class.name`.
        counts: of its result whether the call counts; None counts every call, also one that raises or crashes.
    """

    place: str
    counts: Callable[[Any], bool] | None = None


PARSERS = {
    "cv2.imdecode": [Parser("cv2:imdecode")],
    "netpbm": [Parser("feredge.inference.netpbm:decode_binary")],
    "libheif": [Parser("feredge.inference.picture_kinds:decode_heif")],
    "csv rows": [Parser("feredge.data.kaggle:_parse_block", lambda part: part.row_count > 0)],
    "votes rows": [Parser("feredge.data.votes:_count")],
    "onnxruntime": [Parser("onnxruntime:InferenceSession.__init__")],
    "LiteRT": [Parser("ai_edge_litert.interpreter:Interpreter.__init__")],
    "h5py": [Parser("h5py:File.__init__", lambda _: True)],
    "Keras": [Parser("tf_keras.models:load_model"), Parser("keras.saving:load_model")],
    "npy array": [Parser("numpy.lib.format:read_array"), Parser("numpy.lib.format:read_array_header_1_0")],
    "results": [Parser("feredge.benchmark.results:Results._check")],
    "manifest": [Parser("feredge.inference.artifact:Entry.__init__")],
    "settings": [Parser("feredge.dataclass_io:read")],
    "multipart": [Parser("feredge.serve.request:form_files", bool)],
    "base64 JSON": [Parser("feredge.serve.request:json_pictures", lambda found: bool(found[1]))],
}


@dataclass(frozen=True)
class Target:
    """One kind of file, and what opens it.

    Attributes:
        group: targets of one are opened in children of one process.
        cases: by default; measured so that each parser is reached at least 1,000 times.
        parsers: names of PARSERS.
        seeds: makes the whole files, in a folder that it may use.
        open: prepares a child process, in a folder of its own.
        batch: cases that one child opens.
    """

    name: str
    group: str
    cases: int
    parsers: tuple[str, ...]
    seeds: Callable[[Path], Seeds]
    open: Callable[[Path], Run]
    batch: int = 250


def watch(names: set[str]) -> None:
    """Have every call of the named parsers noted in REACHED."""
    for name in names:
        for parser in PARSERS[name]:
            module, _, path = parser.place.partition(":")
            owner: Any = importlib.import_module(module)
            *classes, attribute = path.split(".")
            for each in classes:
                owner = getattr(owner, each)
            setattr(owner, attribute, _noted(getattr(owner, attribute), name, parser.counts))


def _noted(function: Any, name: str, counts: Callable[[Any], bool] | None) -> Any:
    def call(*arguments: Any, **options: Any) -> Any:
        if counts is None:
            REACHED.add(name)
        result = function(*arguments, **options)
        if counts is not None and counts(result):
            REACHED.add(name)
        return result

    return call


def refuse_last(*calls: Callable[[], Any]) -> None:
    """Make every call, and raise the FeredgeError of the last that was refused."""
    refused = None
    for call in calls:
        try:
            call()
        except FeredgeError as error:
            refused = error
    if refused is not None:
        raise refused


# Pictures


def picture_seeds(_: Path) -> Seeds:
    """Return pictures of every kind that is read, gray, in colour and with alpha, and of 16 bits."""
    import cv2
    import numpy as np
    from device_models import faces

    pictures = {}
    for number, picture in enumerate([*faces(3), *faces(3, channels=3), *faces(1, channels=4)]):
        # OpenCV writes no gray GIF, and of portable maps gray ones as .pgm and BGR ones as .ppm only
        own = {2: (".pgm",), 3: (".gif", ".ppm", ".avif") if picture.shape[-1] == 3 else (".gif",)}[picture.ndim]
        for kind in (".png", ".jpg", ".bmp", ".webp", ".tiff", *own):
            pictures[f"{number}{kind}"] = cv2.imencode(kind, picture)[1].tobytes()
    deep = faces(1)[0].astype(np.uint16) * 257
    for kind in (".png", ".pgm", ".tiff"):
        pictures[f"deep{kind}"] = cv2.imencode(kind, deep)[1].tobytes()
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif  # type: ignore[import-not-found,import-untyped,unused-ignore]
        from PIL import Image

        pillow_heif.register_heif_opener()
        buffer = io.BytesIO()
        Image.fromarray(faces(1, channels=3)[0]).save(buffer, "HEIF")
        pictures["0.heic"] = buffer.getvalue()
    return pictures


def open_pictures(folder: Path) -> Run:
    """Name the face in a picture, and look for faces in it."""
    from device_models import card, write_onnx

    from feredge import Predictor

    predictor = Predictor(write_onnx(folder / "seed.onnx", with_card=card()), threads=1)

    def run(_: Path, data: bytes) -> None:
        refuse_last(lambda: predictor(data), lambda: predictor.frame(data))

    return run


# Model files


def model_seeds(folder: Path) -> Seeds:
    """Return the smallest models, and a trained one, in every format of artifacts."""
    from device_models import card, write_onnx, write_tflite

    from feredge.export.onnx.ort import to_ort

    onnx = write_onnx(folder / "seed.onnx", with_card=card()).read_bytes()
    models = {
        "seed.onnx": onnx,
        "seed.tflite": write_tflite(folder / "seed.tflite", with_card=card()).read_bytes(),
        "seed.ort": to_ort(onnx),
    }
    for path in sorted(MODELS.glob("dense.int8.*")):
        models[path.name] = path.read_bytes()
    return models


def seeds_of(suffix: str) -> Callable[[Path], Seeds]:
    """Return what makes the model files of one suffix."""
    return lambda folder: {name: data for name, data in model_seeds(folder).items() if name.endswith(suffix)}


def open_models(_: Path) -> Run:
    """Open a model file in a Predictor and use it, then read it as `feredge inspect` does in its child."""
    import numpy as np

    from feredge import Predictor, errors
    from feredge.inspection.child_main import answer
    from feredge.inspection.limits import Limits

    def predict(path: Path) -> None:
        with Predictor(path, threads=1) as predictor:
            predictor(np.zeros((48, 48), np.uint8))
            predictor.batch([np.zeros((60, 60, 3), np.uint8)] * 3)

    def inspect(path: Path) -> None:
        limits = dataclasses.asdict(Limits())
        call = {"function": "feredge.api.inspecting:read_model", "arguments": {"model": str(path)}, "limits": limits}
        found = answer(call)
        json.dumps(found)
        if "error" in found:  # of any kind: the parent makes one line of it
            raise getattr(errors, found["error"], FeredgeError)(found["text"])

    return lambda path, _: refuse_last(lambda: predict(path), lambda: inspect(path))


# Networks of other programs


def keras_seeds(suffix: str) -> Callable[[Path], Seeds]:
    """Return what makes files of Keras 2 and of Keras 3 with this suffix."""

    def make(folder: Path) -> Seeds:
        import keras as keras3  # type: ignore[import-untyped] # noqa: TID251 - writes what others would

        from feredge.keras import keras as keras2

        made = {}
        for name, library in (("keras2", keras2), ("keras3", keras3)):
            layers = library.layers
            pixels = library.Input((16, 16, 1))
            x = layers.Conv2D(4, 3, activation="relu")(pixels)
            x = layers.BatchNormalization()(x)
            x = layers.MaxPooling2D()(x)
            x = layers.Flatten()(x)
            network = library.Model(pixels, layers.Dense(7, activation="softmax")(x))
            network.save(folder / f"{name}{suffix}")
            made[f"{name}{suffix}"] = (folder / f"{name}{suffix}").read_bytes()
        return made

    return make


def open_networks(_: Path) -> Run:
    """Open a network as `feredge export` does."""
    from feredge.importing.keras_file import open_network

    return lambda path, _: open_network(path)


# Tables and archives


def csv_seeds(_: Path) -> Seeds:
    """Return small tables in FER2013's format, with other columns and line ends."""
    import cv2
    from device_models import faces

    pixels = [" ".join(map(str, cv2.resize(face, (48, 48)).reshape(-1).tolist())) for face in faces(5)]
    usages = ("Training", "Training", "Training", "PublicTest", "PrivateTest")
    rows = [f"{number},{text},{usage}" for number, (text, usage) in enumerate(zip(pixels, usages, strict=True))]
    return {
        "whole.csv": "\n".join(["emotion,pixels,Usage", *rows, ""]).encode(),
        "windows.csv": "\r\n".join(["\ufeffemotion,pixels,Usage", *rows[:3], ""]).encode(),
        "pixels.csv": "\n".join(["id,pixels", *(f'{number},"{text}"' for number, text in enumerate(pixels))]).encode(),
    }


def open_csv(_: Path) -> Run:
    """Read a table of pixels, with and without its bad rows."""
    from feredge.data import kaggle

    def run(path: Path, _: bytes) -> None:
        refuse_last(
            lambda: kaggle.read_csv(path),
            lambda: kaggle.read_ids(path),
            lambda: kaggle.read_csv(path, skip_bad_rows=True),
        )

    return run


def votes_seeds(_: Path) -> Seeds:
    """Return a small table in FER+'s format."""
    from feredge.data.votes import VOTES

    rows = [f"Training,fer{number:07}.png,{','.join('2' * 10)}" for number in range(6)]
    return {"votes.csv": "\n".join([f"Usage,Image name,{','.join(VOTES)}", *rows, ""]).encode()}


def open_votes(_: Path) -> Run:
    """Read a table of votes."""
    from feredge.data.votes import read_votes

    return lambda path, _: read_votes(path) and None


def soft_label_seeds(folder: Path) -> Seeds:
    """Return a small file of soft labels."""
    import numpy as np

    from feredge.inference.contract import CLASSES
    from feredge.train.soft_labels import SoftLabels

    labels = SoftLabels(np.ones((9, 7), np.float32), np.arange(9), CLASSES, "ab" * 32, ("cd" * 32,))
    labels.write(folder / "labels.npz")
    return {"labels.npz": (folder / "labels.npz").read_bytes()}


def open_soft_labels(_: Path) -> Run:
    """Read soft labels."""
    from feredge.train import soft_labels

    return lambda path, _: soft_labels.read(path) and None


def open_probes(_: Path) -> Run:
    """Read stored answers."""
    from feredge.inspection.probes import read_probes

    return lambda path, _: read_probes(path, PROBED_FILES) and None


def cache_seeds(folder: Path) -> Seeds:
    """Return a parsed copy of a small table."""
    from feredge.data import cache, kaggle

    (folder / "whole.csv").write_bytes(csv_seeds(folder)["whole.csv"])
    table = kaggle.read_csv(folder / "whole.csv")
    folder.chmod(0o700)  # as a cache must be
    os.environ["FEREDGE_CACHE"] = str(folder)
    cache.store(table)
    return {"cache.npz": next(folder.glob(f"{table.digest}*")).read_bytes()}


def open_cache(folder: Path) -> Run:
    """Read a parsed copy of a table; a damaged one is as good as none."""
    from feredge.data import cache
    from feredge.errors import DataError

    folder.chmod(0o700)
    os.environ["FEREDGE_CACHE"] = str(folder)
    name = cache._path("ab" * 32)  # where the digest of a csv leads

    def run(path: Path, _: bytes) -> None:
        path.replace(name)
        name.chmod(0o600)  # what others could have written is not opened
        if cache.fetch("ab" * 32) is None:
            raise DataError("expected a copy, found none")

    return run


def checkpoint_seeds(_: Path) -> Seeds:
    """Return a small checkpoint, as training writes one."""
    import numpy as np

    from feredge.train.checkpoint import SCHEMA

    buffer = io.BytesIO()
    arrays = {"model_0": np.ones((3, 4), np.float32), "optimizer_0": np.int64(7)}
    np.savez(buffer, schema=SCHEMA, identity="one", precision="float32", history=np.zeros((2, 4)), **arrays)  # type: ignore[arg-type]
    return {"checkpoint.npz": buffer.getvalue()}


def open_checkpoint(_: Path) -> Run:
    """Read a checkpoint."""
    from feredge.train import checkpoint

    return lambda path, _: checkpoint.read(path, identity="one") and None


# JSON and TOML


def results_seeds(_: Path) -> Seeds:
    """Return the measured results of a reference model, in a few rows."""
    value = json.loads((MODELS / "results.json").read_text(encoding="utf-8"))
    return {"results.json": json.dumps({**value, "rows": value["rows"][:5]}).encode()}


def open_results(folder: Path) -> Run:
    """Show results in every form of `feredge report`."""
    from feredge import report
    from feredge.benchmark import Results

    def run(path: Path, _: bytes) -> None:
        results = Results.read(path)
        report.to_terminal(results)
        report.to_markdown(results)
        report.to_csv(results)
        report.to_comparison([results, results])
        report.write_html(results, folder / "page.html", pictures=folder, faces=None)
        report.write_comparison([results, results], folder / "page.html")

    return run


def manifest_seeds(folder: Path) -> Seeds:
    """Return the manifest of a reference model."""
    return {"manifest.json": (MODELS / "manifest.json").read_bytes()}


def open_manifest(folder: Path) -> Run:
    """Read a manifest beside the files it names, and open the folder."""
    from feredge.inference.artifact import Manifest
    from feredge.inference.runtimes import open_checked

    for path in MODELS.glob("dense.*"):
        (folder / path.name).symlink_to(path)

    def run(path: Path, _: bytes) -> None:
        path.replace(folder / "manifest.json")
        refuse_last(lambda: Manifest.read(folder), lambda: open_checked(folder))

    return run


def recipe_seeds(_: Path) -> Seeds:
    """Return the recipes that come with feredge."""
    return {path.name: path.read_bytes() for path in sorted((environment.ROOT / "feredge/recipes").glob("*.toml"))}


def open_recipe(_: Path) -> Run:
    """Read a recipe, and write it again."""
    from feredge import recipes

    return lambda path, _: recipes.dump(recipes.load(path)) and None


# Requests


def http_seeds(folder: Path) -> Seeds:
    """Return requests of every kind: a line of headers in JSON, then the body."""
    from base64 import b64encode

    pictures = [data for name, data in picture_seeds(folder).items() if name in ("0.png", "3.jpg", "1.webp", "4.gif")]
    parts = [
        b'--%b\r\nContent-Disposition: form-data; name="p"; filename="%d.png"\r\nContent-Type: image/png\r\n\r\n%b\r\n'
        % (HTTP_BOUNDARY.encode(), number, picture)
        for number, picture in enumerate(pictures)
    ]
    form = b"".join(parts) + f"--{HTTP_BOUNDARY}--\r\n".encode()
    texts = [b64encode(picture).decode() for picture in pictures]
    requests = {
        "raw": ("image/png", pictures[0]),
        "form": (f"multipart/form-data; boundary={HTTP_BOUNDARY}", form),
        "one": ("application/json", json.dumps({"picture": texts[0]}).encode()),
        "many": ("application/json", json.dumps({"pictures": texts}).encode()),
    }
    return {
        f"{name}.http": json.dumps({"type": kind, "query": "face=1"}).encode() + b"\n" + body
        for name, (kind, body) in requests.items()
    }


def open_service(folder: Path) -> Run:
    """Answer a request in the service's ASGI application; an internal error is raised here."""
    from device_models import card, write_onnx

    from feredge import Predictor
    from feredge.serve.app import LOG, create_app

    class Problems(logging.Handler):
        text = ""

        def emit(self, record: logging.LogRecord) -> None:
            self.text = record.getMessage()

    problems = Problems()
    LOG.addHandler(problems)
    app = create_app(Predictor(write_onnx(folder / "seed.onnx", with_card=card()), threads=1), threads=1)
    runner = asyncio.Runner()
    life = app.router.lifespan_context(app)
    runner.run(life.__aenter__())
    app.state.life = life  # the service closes when nobody refers to it

    async def post(headers: Any, body: bytes) -> tuple[int, bytes]:
        chunks = [body[: len(body) // 2], body[len(body) // 2 :]]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            sent.append(message)

        values = headers if isinstance(headers, dict) else {}
        kind, query = (str(values.get(name, "")).encode("latin-1", "replace") for name in ("type", "query"))
        lines = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        scope = {"type": "http", "path": "/predict", "method": "POST", "query_string": query, "headers": lines}
        await app(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)

    def run(_: Path, data: bytes) -> None:
        head, _, body = data.partition(b"\n")
        status, answer = runner.run(post(json.loads(head), body))
        found = json.loads(answer)
        if status == 500:
            raise RuntimeError(problems.text)
        if status != 200:
            raise FeredgeError(found["error"])

    return run


TARGETS = {
    target.name: target
    for target in (
        Target("h5", "keras", 2500, ("h5py", "Keras"), keras_seeds(".h5"), open_networks, 50),
        Target("keras", "keras", 2500, ("h5py", "Keras"), keras_seeds(".keras"), open_networks, 50),
        Target("onnx", "models", 3000, ("onnxruntime",), seeds_of(".onnx"), open_models),
        Target("tflite", "models", 4000, ("LiteRT",), seeds_of(".tflite"), open_models),
        Target("ort", "models", 4000, ("onnxruntime",), seeds_of(".ort"), open_models),
        Target("pictures", "pictures", 12_000, ("cv2.imdecode", "netpbm", "libheif"), picture_seeds, open_pictures),
        Target("http", "pictures", 8000, ("cv2.imdecode", "multipart", "base64 JSON"), http_seeds, open_service),
        Target("csv", "tables", 2500, ("csv rows",), csv_seeds, open_csv),
        Target("votes", "tables", 2000, ("votes rows",), votes_seeds, open_votes),
        Target("soft-labels", "tables", 2500, ("npy array",), soft_label_seeds, open_soft_labels),
        Target("probes", "tables", 2500, ("npy array",), lambda _: {"probes.npz": probes()}, open_probes),
        Target("cache", "tables", 2500, ("npy array",), cache_seeds, open_cache),
        Target("checkpoint", "tables", 2500, ("npy array",), checkpoint_seeds, open_checkpoint),
        Target("results", "tables", 4000, ("settings", "results"), results_seeds, open_results),
        Target("manifest", "models", 4000, ("manifest",), manifest_seeds, open_manifest),
        Target("recipe", "tables", 2500, ("settings",), recipe_seeds, open_recipe),
    )
}


def probes() -> bytes:
    """Return the reference model's stored answers of two files."""
    with zipfile.ZipFile(MODELS / "probes.npz") as archive:
        names = ["pictures.npy", *(f"{name}.npy" for name in PROBED_FILES)]
        members = [(name, archive.read(name), zipfile.ZIP_STORED) for name in names]
    from mutations import write_zip

    return write_zip(members)


IMPORTS = {
    "keras": ("feredge.importing.keras_file", "keras", "h5py"),
    "models": ("onnx", "onnxruntime", "ai_edge_litert.interpreter", "cv2", "feredge.api.inspecting", "h5py"),
    "pictures": ("onnxruntime", "cv2", "PIL.Image", "feredge.serve.app"),
    "tables": ("cv2", "tomli_w", "feredge.report", "feredge.benchmark", "feredge.train.soft_labels", "feredge.data"),
}
"""Modules that the process of a group imports before it forks."""
