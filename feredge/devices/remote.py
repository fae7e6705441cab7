"""`bench_on`: a run measured on a device over ssh, by the bundle that goes there and the results that come back.

The measurement runs on the device in a session of its own. A connection that breaks costs nothing: the next one goes
on listening, in the same call or, once that has given up, in the next call for the same run.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from feredge import files
from feredge.benchmark.results import Results
from feredge.data.dataset import Dataset
from feredge.devices.bundle import NORMAL, DeviceBenchmarkConfig, bundle
from feredge.devices.bundle_main import OLDEST
from feredge.devices.ssh import ConnectionLost, Device
from feredge.errors import DeviceError, ResultsError
from feredge.progress import Progress, quiet
from feredge.run import RunFolder

PATIENCE = 180.0
"""Seconds that a lost device may stay away."""

Found = TypeVar("Found")


class Stopped(DeviceError):
    """A measurement that was ended by Ctrl-C."""

    exit_code = 130


def bench_on(
    device: Device,
    run: RunFolder,
    dataset: Dataset,
    *,
    hard: DeviceBenchmarkConfig = NORMAL,
    patience: float = PATIENCE,
    progress: Progress = quiet,
) -> Results:
    """Measure `run` on `device`; write and return `results-HOST.json` in the run's folder.

    What was brought to the device is removed in the end, also after Ctrl-C and after a failure there. When the
    device stays away for `patience` seconds, the measurement goes on there, and the same call picks it up.

    Raises:
        DeviceError: a host that does not answer, refuses or has another key; a device without Python 3.11, numpy or
            onnxruntime; a measurement that failed there, or was stopped; or a device lost for too long.
        FeredgeError: what `bundle` raises.
    """
    with tempfile.TemporaryDirectory(prefix="feredge-") as name:
        ask_needs(device)
        packed = bundle(run, dataset, Path(name) / "bench.zip", hard=hard, progress=progress)
        digest = files.sha256(packed)
        visit = _Visit(device, f"{FOLDER}-{digest[:16]}", digest, patience, progress)
        try:
            visit.start(packed)
            visit.follow()
            results = visit.fetch(Path(name))
            if results.data.digest != dataset.digest:
                raise ResultsError(f"{device.address}: expected results on {dataset.source}, found others")
        except ConnectionLost as error:
            raise DeviceError(
                f"{device.address}: expected it back within {patience:.0f} s, found it lost ({error}); "
                + ("the measurement goes on there, and the same command picks it up" if visit.begun else "try again")
            ) from error
        except KeyboardInterrupt as error:
            visit.leave()
            raise Stopped(f"{device.address}: stopped, there too; what was brought there is removed") from error
        except BaseException:
            visit.leave()
            raise
        target = results_file(run, device)
        files.write_bytes(target.with_suffix(".npz"), (Path(name) / "results.npz").read_bytes())
        results.write(target)
        visit.leave()
        return results


FOLDER = ".feredge-bench"
"""Begins the name of the folder in the login's home; the bundle's digest ends it."""


def results_file(run: RunFolder, device: Device) -> Path:
    """Return where the results of a device stand."""
    return run.path / f"results-{device.address.name}.json"


def ask_needs(device: Device) -> None:
    """Raise DeviceError unless the device answers and has what a bundle needs."""
    try:
        check_needs(device, device.ask("look", FOLDER))
    except ConnectionLost as error:
        raise DeviceError(f"{device.address}: expected a host that answers, found none ({error})") from error


def check_needs(device: Device, found: dict[str, object]) -> None:
    """Raise DeviceError unless the device has what a bundle needs."""
    version = tuple(int(part) for part in str(found["python"]).split(".")[:2])
    oldest = ".".join(map(str, OLDEST))
    if version < OLDEST:
        raise DeviceError(
            f"{device.address}: expected Python {oldest} or newer as {device.python}, found {found['python']}; "
            "name another with --python"
        )
    missing = found["missing"]
    if isinstance(missing, list) and missing:
        raise DeviceError(
            f"{device.address}: expected numpy and onnxruntime for {device.python}, found no {' nor '.join(missing)}; "
            f"there: {device.python} -m pip install {' '.join(missing)}"
        )


class _Visit:
    """One bundle's measurement on one device, through however many connections it takes."""

    def __init__(self, device: Device, folder: str, digest: str, patience: float, progress: Progress) -> None:
        self._device = device
        self._folder = folder
        self._digest = digest
        self._patience = patience
        self._progress = progress
        self._offset = 0
        self.begun = False
        self._heard = time.monotonic()

    def start(self, packed: Path) -> None:
        """Bring the bundle, unless it is there, and start it, unless it was."""
        device, folder = self._device, self._folder

        def go() -> None:
            self.begun = device.ask("look", folder)["state"] in ("running", "done")
            if self.begun:
                return
            if not device.ask("prepare", folder, self._digest)["whole"]:
                self._progress("bundle to the device", 0, 1)
                device.send(packed, f"{folder}/bench.zip")
                self._progress("bundle to the device", 1, 1)
            state = device.ask("start", folder, self._digest)["state"]
            if state == "damaged":
                raise ConnectionLost("the bundle did not arrive whole")
            self.begun = True

        self._keep_trying(go)

    def follow(self) -> None:
        """Show the progress there until the measurement is over."""

        def go() -> dict[str, object]:
            return self._device.ask("follow", self._folder, str(self._offset), heard=self._hear)

        over = self._keep_trying(go)
        if over["state"] != "done":
            raise DeviceError(f"{self._device.address}: expected results, the measurement there ended: {over['last']}")

    def _hear(self, line: bytes) -> None:
        self._heard = time.monotonic()
        if not line.strip():
            return
        try:
            task, done, total, note = json.loads(line)
        except ValueError:  # what a login shell says there, and no part of the progress
            return
        self._offset += len(line)
        self._progress(str(task), float(done), float(total), str(note))

    def fetch(self, here: Path) -> Results:
        """Bring the results and their evidence."""
        for name in ("results.json", "results.npz"):
            self._keep_trying(lambda name=name: self._device.fetch(f"{self._folder}/{name}", here / name))  # type: ignore[misc]
        return Results.read(here / "results.json")

    def leave(self) -> None:
        """End what is still going on there, and remove everything; a device that is gone keeps it."""
        try:
            self._device.ask("remove", self._folder)
        except (ConnectionLost, DeviceError):
            return

    def _keep_trying(self, work: Callable[[], Found]) -> Found:
        """Do `work`, again and again while the connection is lost, for as long as patience lasts."""
        self._heard = time.monotonic()
        pause = 0.5
        while True:
            try:
                return work()
            except ConnectionLost as error:
                away = time.monotonic() - self._heard
                if away + pause > self._patience:
                    raise
                task = f"{self._device.address} is lost, trying again"
                self._progress(task, min(away, self._patience - 1e-3), self._patience, str(error))
            time.sleep(pause)
            pause = min(2 * pause, 10.0)
