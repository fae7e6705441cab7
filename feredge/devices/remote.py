"""Benchmarks of a run on a device over ssh: a bundle is copied there, runs, and its results are copied back.

The measurement runs on the device in its own session, so that it survives a lost connection: the same call reconnects,
or, after it has given up, the next call for the same run.
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
from feredge.devices.bundle import DEFAULT_PRESET, BenchmarkPreset, bundle
from feredge.devices.bundle_main import OLDEST_PYTHON
from feredge.devices.ssh import ConnectionLost, Device
from feredge.errors import DeviceError, ResultsError
from feredge.progress import Progress, quiet
from feredge.run import RunFolder

RECONNECT_SECONDS = 180.0
"""Longest time that a device may be unreachable."""
FOLDER_PREFIX = ".feredge-bench"
"""Prefix of the folder's name in the user's home on the device; the start of the bundle's digest follows."""

Result = TypeVar("Result")


class MeasurementStopped(DeviceError):
    """A measurement that was stopped by Ctrl-C."""

    exit_code = 130


def bench_on(
    device: Device,
    run: RunFolder,
    dataset: Dataset,
    *,
    preset: BenchmarkPreset = DEFAULT_PRESET,
    reconnect_seconds: float = RECONNECT_SECONDS,
    progress: Progress = quiet,
) -> Results:
    """Measure `run` on `device`; write and return `results-HOST.json` in the run's folder.

    The files on the device are removed at the end, also after Ctrl-C and after a failure there. When the device is
    unreachable for `reconnect_seconds`, the measurement continues there, and the same call
    reconnects to it.

    Raises:
        DeviceError: a host that is unreachable, refuses the login, or has an unexpected host key; a device without
            Python 3.11, numpy or onnxruntime; a measurement that failed there, or was stopped; or a connection lost for
            too long.
        FeredgeError: what `bundle` raises.
    """
    with tempfile.TemporaryDirectory(prefix="feredge-") as name:
        check_device(device)
        packed = bundle(run, dataset, Path(name) / "bench.zip", preset=preset, progress=progress)
        digest = files.sha256(packed)
        remote = _RemoteMeasurement(device, digest, reconnect_seconds, progress)
        try:
            remote.start(packed)
            remote.follow()
            results = remote.fetch(Path(name))
            if results.data.digest != dataset.digest:
                raise ResultsError(f"{device.address}: expected results on {dataset.source}, found others")
        except ConnectionLost as error:
            next_step = "the measurement continues there, and the same command reconnects to it"
            raise DeviceError(
                f"{device.address}: no connection for {reconnect_seconds:.0f} s ({error}); "
                + (next_step if remote.started else "try again")
            ) from error
        except KeyboardInterrupt as error:
            remote.remove()
            raise MeasurementStopped(f"{device.address}: stopped; its files on the device were removed") from error
        except BaseException:
            remote.remove()
            raise
        target = results_file(run, device)
        files.write_bytes(target.with_suffix(".npz"), (Path(name) / "results.npz").read_bytes())
        results.write(target)
        remote.remove()
        return results


def results_file(run: RunFolder, device: Device) -> Path:
    """Return the path of the results of a device."""
    return run.path / f"results-{device.address.name}.json"


def check_device(device: Device) -> None:
    """Raise DeviceError unless the device is reachable and meets the requirements of a bundle."""
    try:
        check_requirements(device, device.run_agent("describe", FOLDER_PREFIX))
    except ConnectionLost as error:
        raise DeviceError(f"{device.address}: expected a host that responds, found none ({error})") from error


def check_requirements(device: Device, description: dict[str, object]) -> None:
    """Raise DeviceError unless the device that the agent describes has the Python and packages that a bundle needs."""
    version = tuple(int(part) for part in str(description["python"]).split(".")[:2])
    oldest = ".".join(map(str, OLDEST_PYTHON))
    if version < OLDEST_PYTHON:
        raise DeviceError(
            f"{device.address}: expected Python {oldest} or newer as {device.python}, found {description['python']}; "
            "name another with --python"
        )
    missing = description["missing"]
    if isinstance(missing, list) and missing:
        raise DeviceError(
            f"{device.address}: expected numpy and onnxruntime for {device.python}, found no {' nor '.join(missing)}; "
            f"install there with: {device.python} -m pip install {' '.join(missing)}"
        )


class _RemoteMeasurement:
    """The measurement of one bundle on one device, with reconnection."""

    def __init__(self, device: Device, digest: str, reconnect_seconds: float, progress: Progress) -> None:
        self._device = device
        self._folder = f"{FOLDER_PREFIX}-{digest[:16]}"
        self._digest = digest
        self._reconnect_seconds = reconnect_seconds
        self._progress = progress
        self._offset = 0
        self.started = False
        self._last_contact = time.monotonic()

    def start(self, packed: Path) -> None:
        """Copy the bundle, unless it is on the device, and start it, unless it was started."""
        device, folder = self._device, self._folder

        def copy_and_start() -> None:
            self.started = device.run_agent("describe", folder)["state"] in ("running", "done")
            if self.started:
                return
            if not device.run_agent("prepare", folder, self._digest)["complete"]:
                self._progress("bundle to the device", 0, 1)
                device.send(packed, f"{folder}/bench.zip")
                self._progress("bundle to the device", 1, 1)
            state = device.run_agent("start", folder, self._digest)["state"]
            if state == "damaged":
                raise ConnectionLost("the bundle was damaged in transfer")
            self.started = True

        self._retry(copy_and_start)

    def follow(self) -> None:
        """Report the measurement's progress until it ends."""

        def read_progress() -> dict[str, object]:
            return self._device.run_agent("follow", self._folder, str(self._offset), on_line=self._report)

        end = self._retry(read_progress)
        if end["state"] != "done":
            raise DeviceError(
                f"{self._device.address}: expected results, found a failed measurement there; "
                f"its last output: {end['last']}"
            )

    def _report(self, line: bytes) -> None:
        self._last_contact = time.monotonic()
        if not line.strip():
            return
        try:
            task, done, total, note = json.loads(line)
        except ValueError:  # output of a login shell
            return
        self._offset += len(line)
        self._progress(str(task), float(done), float(total), str(note))

    def fetch(self, folder: Path) -> Results:
        """Copy the results and their raw data into `folder`."""
        for name in ("results.json", "results.npz"):
            self._retry(lambda name=name: self._device.fetch(f"{self._folder}/{name}", folder / name))  # type: ignore[misc]
        return Results.read(folder / "results.json")

    def remove(self) -> None:
        """Stop the measurement, and remove its files; on an unreachable device they remain."""
        try:
            self._device.run_agent("remove", self._folder)
        except (ConnectionLost, DeviceError):
            return

    def _retry(self, call: Callable[[], Result]) -> Result:
        """Return what `call` returns; repeat it while the connection is lost, for at most `reconnect_seconds`."""
        self._last_contact = time.monotonic()
        pause = 0.5
        while True:
            try:
                return call()
            except ConnectionLost as error:
                lost_seconds = time.monotonic() - self._last_contact
                if lost_seconds + pause > self._reconnect_seconds:
                    raise
                task = f"reconnecting to {self._device.address}"
                shown = min(lost_seconds, self._reconnect_seconds - 1e-3)
                self._progress(task, shown, self._reconnect_seconds, str(error))
            time.sleep(pause)
            pause = min(2 * pause, 10.0)
