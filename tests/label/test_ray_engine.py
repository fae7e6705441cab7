"""The Predictor on Ray Data: a local cluster of two worker processes."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from device_models import draw_frame, faces

from feredge import Predictor
from feredge.errors import RunError
from feredge.label.predict import predict_pictures

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytest.importorskip("ray.data", reason="the extra `ray` is not installed")

from feredge.label import ray_engine  # noqa: E402 - only where Ray is


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, **ray_engine.RAY_INIT_OPTIONS)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """400 faces of many sizes, a frame with two, one damaged."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, picture in enumerate(faces(400)):
        cv2.imwrite(str(folder / f"{number:03}.png"), picture)
    cv2.imwrite(str(folder / "200.png"), draw_frame()[0])
    (folder / "100.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    return sorted(map(str, folder.iterdir()))


def test_no_cluster_there(small_onnx: Path) -> None:
    """A wrong address is told at once. This test stands before the first that has a cluster."""
    with Predictor(small_onnx) as predictor, pytest.raises(RunError, match="expected a Ray cluster, found none"):
        list(ray_engine.engine(predictor, workers=2, address="127.0.0.1:1")(["a.png"]))


def test_nothing_left(small_onnx: Path) -> None:
    """Guards a table that was stopped at its very end: it needs no cluster any more."""
    with Predictor(small_onnx) as predictor:
        assert list(ray_engine.engine(predictor, workers=2, address="127.0.0.1:1")([])) == []


@pytest.mark.parametrize("detect", [False, pytest.param(True, marks=pytest.mark.long)])
def test_same_table_as_one_process(
    cluster: None, small_onnx: Path, pictures: list[str], tmp_path: Path, detect: bool
) -> None:
    """Byte for byte, errors and order included."""
    with Predictor(small_onnx, threads=1) as predictor:
        wanted = predict_pictures(predictor, pictures, tmp_path / "one.csv", detect=detect)
        run = ray_engine.engine(predictor, workers=2, detect=detect)
        assert predict_pictures(predictor, pictures, tmp_path / "ray.csv", detect=detect, engine=run) == wanted
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


def workers() -> set[int]:
    """Processes of this cluster that run the stage."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::" in path.read_bytes() and b"MapWorker" in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            pass  # it has ended
    return found


@pytest.mark.long
def test_killed_worker_loses_nothing(cluster: None, small_onnx: Path, pictures: list[str], tmp_path: Path) -> None:
    """One of the two processes is killed in the middle; the table is the same."""
    names = pictures * 20
    killed: list[int] = []

    def kill() -> None:
        end = time.monotonic() + 300
        while time.monotonic() < end:
            if len(found := workers()) == 2 and started.is_set():
                killed.append(min(found))
                os.kill(min(found), signal.SIGKILL)
                return
            time.sleep(0.01)

    started = threading.Event()
    killer = threading.Thread(target=kill)
    with Predictor(small_onnx, threads=1) as predictor:
        predict_pictures(predictor, names, tmp_path / "one.csv", detect=False)
        killer.start()
        run = ray_engine.engine(predictor, workers=2, detect=False)
        predict_pictures(
            predictor, names, tmp_path / "ray.csv", detect=False, engine=run, on_result=lambda *_: started.set()
        )
    killer.join()
    assert killed and not Path(f"/proc/{killed[0]}").exists()
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


@pytest.mark.long
def test_stopped_and_gone_on_with(cluster: None, small_onnx: Path, pictures: list[str], tmp_path: Path) -> None:
    """A table that was begun in threads goes on on Ray."""
    seen = []

    def stop(picture: str, answer: object) -> None:
        seen.append(picture)
        if len(seen) == 150:
            raise KeyboardInterrupt

    with Predictor(small_onnx, threads=1) as predictor:
        predict_pictures(predictor, pictures, tmp_path / "one.csv", detect=False)
        with pytest.raises(KeyboardInterrupt):
            predict_pictures(predictor, pictures, tmp_path / "t.csv", detect=False, on_result=stop)
        done = []
        run = ray_engine.engine(predictor, workers=2, detect=False)
        predict_pictures(
            predictor,
            pictures,
            tmp_path / "t.csv",
            detect=False,
            engine=run,
            on_result=lambda name, _: done.append(name),
        )
    assert len(done) == len(pictures) - 149
    assert (tmp_path / "t.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


def test_stage_in_a_pipeline_of_ones_own(cluster: None, small_onnx: Path, pictures: list[str]) -> None:
    """Other columns stay, and pictures may come as bytes."""
    rows: list[dict[str, Any]] = [
        {"id": number, "data": Path(name).read_bytes()} for number, name in enumerate(pictures[98:103])
    ]
    stage = {"model": str(small_onnx), "column": "data", "detect": False}
    found = (
        ray.data.from_items(rows).map_batches(ray_engine.Stage, fn_constructor_kwargs=stage, concurrency=1).take_all()
    )
    found.sort(key=lambda row: row["id"])
    with Predictor(small_onnx) as predictor:
        assert json.loads(found[0]["faces"]) == [predictor(rows[0]["data"]).to_dict()]
    assert [bool(row["error"]) for row in found] == [False, False, True, False, False]
