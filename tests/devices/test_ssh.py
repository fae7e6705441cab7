"""A run measured on a device over a real ssh connection, and every way that this can be refused or break."""

from __future__ import annotations

import getpass
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sshd
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from feredge.benchmark import Results
from feredge.benchmark.load_metrics import LoadConfig
from feredge.cli import main
from feredge.data.dataset import Dataset
from feredge.devices.bundle import BenchmarkPreset
from feredge.devices.remote import bench_on, check_requirements, results_file
from feredge.devices.ssh import Address, Device
from feredge.errors import DeviceError
from feredge.run import RunFolder

QUICK = BenchmarkPreset("quick")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    """A running sshd."""
    program = sshd.find()
    if program is None or not Path("/proc/self/task").exists():
        pytest.skip("no sshd, or no Linux, here (Debian: apt-get install openssh-server)")
    running = sshd.start(program, tmp_path_factory.mktemp("sshd"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def device(server: sshd.Server, bare_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Device:
    """The server as a device, whose Python has a name that a shell would take apart."""
    python = tmp_path_factory.mktemp("python") / "it's; the $(device's) python"
    interpreter = getattr(sys, "_base_executable", sys.executable)
    python.write_text(f'#!/bin/sh\nPYTHONPATH={bare_packages} exec {interpreter} "$@"\n')
    python.chmod(0o755)
    return Device(replace(server.address, user=getpass.getuser()), str(python), server.options)


def test_a_device_is_measured_through_lost_connections(
    server: sshd.Server, device: Device, toy_run: RunFolder, faces: Dataset
) -> None:
    """Guards the whole way there and back: a connection lost for good, picked up again by the same call, lost again
    in the middle, and never a second measurement; then nothing is left on the device."""
    reports: list[tuple[str, float]] = []
    abandoned = server.home / ".feredge-bench-0123456789abcdef"
    abandoned.mkdir()
    os.utime(abandoned, (0, 0))

    def lose(task: str, done: float, total: float, note: str = "") -> None:
        reports.append((task, done))
        if task == "cold start":
            server.drop()

    with pytest.raises(DeviceError, match="the same command reconnects to it"):
        bench_on(device, toy_run, faces, preset=QUICK, reconnect_seconds=0.0, progress=lose)
    (folder,) = server.home.iterdir()
    first = (folder / "pid").read_text()
    assert ("bundle to the device", 1) in reports

    reports.clear()
    pids = set()

    def lose_once(task: str, done: float, total: float, note: str = "") -> None:
        if task == "cold start" and done == 0:
            pids.add((folder / "pid").read_text())
            server.drop()
        reports.append((task, done))

    results = bench_on(device, toy_run, faces, preset=QUICK, reconnect_seconds=60.0, progress=lose_once)
    assert pids == {first}, "the measurement that the first call began"
    steps = [item for item in reports if item[0] != "float model's outputs" and not item[0].startswith("reconnecting")]
    assert ("bundle to the device", 0) not in steps and len(steps) == len(set(steps)), "each step once"
    assert steps[-1][0] == "latency, 1 thread"
    assert Results.read(results_file(toy_run, device)) == results
    assert results_file(toy_run, device).with_suffix(".npz").is_file()
    assert [row.name for row in results.rows if row.failure is None] == [
        "float",
        "dense.float32.onnx",
        "rough.int8.onnx",
    ]
    assert not list(server.home.iterdir()), "files were left on the device"


def test_sustained_load_goes_on_without_a_connection(
    server: sshd.Server, device: Device, toy_run: RunFolder, faces: Dataset
) -> None:
    """Guards `--sustained` on a device: a connection lost under load costs no minute, and no minute twice."""
    drops: list[float] = []
    minutes: list[tuple[str, float]] = []

    def lose_once(task: str, done: float, total: float, note: str = "") -> None:
        if task != "sustained load":
            return
        minutes.append((note, done))
        if not drops:
            drops.append(done)
            server.drop()

    preset = BenchmarkPreset("quick", load=LoadConfig(minutes=2, minute_seconds=0.6))
    results = bench_on(device, toy_run, faces, preset=preset, reconnect_seconds=60.0, progress=lose_once)
    assert drops and len(minutes) == len(set(minutes)), "each minute once"
    loads = {row.name: row.sustained_load for row in results.rows if row.kind == "artifact" and row.failure is None}
    assert set(loads) == {"dense.float32.onnx", "rough.int8.onnx"}
    for load in loads.values():
        assert load and len(load.minutes) == 2 and all(minute.count and minute.median > 0 for minute in load.minutes)
    assert Results.read(results_file(toy_run, device)) == results
    assert not list(server.home.iterdir()), "files were left on the device"


def test_ctrl_c_ends_it_there_too(server: sshd.Server, device: Device, toy_run: RunFolder, faces: Dataset) -> None:
    """Guards a device against a measurement, and files, that nobody waits for."""
    pids = []

    def stop(task: str, done: float, total: float, note: str = "") -> None:
        if task == "cold start":
            pids.append(int(next(server.home.glob("*/pid")).read_text()))
            raise KeyboardInterrupt

    with pytest.raises(DeviceError, match="stopped; its files on the device were removed") as caught:
        bench_on(device, toy_run, faces, preset=QUICK, progress=stop)
    assert caught.value.exit_code == 130
    assert not list(server.home.iterdir())
    deadline = time.monotonic() + 10  # for whoever inherited them to take note of their end
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(pids[0], 0)
            time.sleep(0.05)


def test_a_measurement_that_ends_there_says_so(
    server: sshd.Server, device: Device, toy_run: RunFolder, faces: Dataset
) -> None:
    """Guards against waiting for a process that was ended, as by a device that is out of memory; and the cleaning."""

    def end(task: str, done: float, total: float, note: str = "") -> None:
        if task == "cold start" and not done:
            os.kill(int(next(server.home.glob("*/pid")).read_text()), signal.SIGKILL)

    with pytest.raises(
        DeviceError, match="expected results, found a failed measurement there; its last output: no output"
    ):
        bench_on(device, toy_run, faces, preset=QUICK, progress=end)
    assert not list(server.home.iterdir())


def test_another_host_key_is_refused(server: sshd.Server, device: Device, tmp_path: Path) -> None:
    """Guards against talking to whoever answers: another key than the known one, and a key that nobody knows."""
    sshd.make_key(tmp_path / "other")
    known_hosts = tmp_path / "known_hosts"
    sshd.trust(known_hosts, server.address.port or 0, tmp_path / "other.pub")
    options = tuple(
        f"UserKnownHostsFile={known_hosts}" if "KnownHosts" in option else option for option in device.options
    )
    stranger = replace(device, options=("StrictHostKeyChecking=no", *options))  # and no option undoes the check
    with pytest.raises(DeviceError, match=r"^ssh://.*: expected the host key that is known for it, found another"):
        stranger.run_agent("describe", "x")
    known_hosts.write_text("")
    with pytest.raises(DeviceError, match=r"^ssh://.*: expected a host whose key is known, found an unknown key"):
        stranger.run_agent("describe", "x")


def test_refusals_are_one_line(
    server: sshd.Server, device: Device, toy_run: RunFolder, faces: Dataset, tmp_path: Path
) -> None:
    """Guards the line and the exit code for the commonest mistakes: key, Python, packages, port."""
    sshd.make_key(tmp_path / "other")
    denied = tuple(
        f"IdentityFile={tmp_path}/other" if "IdentityFile" in option else option for option in device.options
    )
    closed = replace(server.address, port=1)
    bare = tmp_path / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec {getattr(sys, "_base_executable", sys.executable)} -S "$@"\n')
    bare.chmod(0o755)
    cases = {
        "expected to be let in by a key or an agent, found a refusal": replace(device, options=denied),
        "expected Python 3.11 or newer as no-such-python, found none": replace(device, python="no-such-python"),
        "expected a host that responds, found none": replace(device, address=closed),
        "found no numpy nor onnxruntime; install there with:": replace(device, python=str(bare)),
        "expected options that ssh knows": replace(device, options=("NoSuchOption=1",)),
    }
    for message, wrong_device in cases.items():
        with pytest.raises(DeviceError) as caught:
            bench_on(wrong_device, toy_run, faces)
        assert message in str(caught.value) and "\n" not in str(caught.value)
        assert caught.value.exit_code == 2
    assert not results_file(toy_run, replace(device, address=closed)).exists()


def test_an_older_python_is_told_by_its_number(device: Device) -> None:
    """Guards a device whose system Python is too old, where another may stand beside it."""
    with pytest.raises(DeviceError, match=r"expected Python 3.11 or newer as .*, found 3.9.2; name another with"):
        check_requirements(device, {"python": "3.9.2", "missing": []})


INVALID_ADDRESSES = (
    *("pi@raspberry", "ssh://", "ssh://pi@", "http://pi", "ssh://pi@host:port", "ssh://-oProxyCommand=x"),
    *("ssh://pi:secret@h", "ssh://-x@host", "ssh://host/path", "ssh://a b", "ssh://host:99999"),
)


@pytest.mark.parametrize("text", INVALID_ADDRESSES)
def test_other_addresses_are_refused(text: str) -> None:
    """Guards against names that ssh would take for options, and passwords on a command line."""
    with pytest.raises(DeviceError, match="expected ssh://user@host:port"):
        Address.parse(text)


@given(
    user=st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}", fullmatch=True),
    host=st.from_regex(r"[a-z0-9][a-z0-9.-]{0,12}", fullmatch=True) | st.sampled_from(["::1", "fe80::1%eth0"]),
    port=st.none() | st.integers(1, 65535),
)
def test_addresses_come_back_as_they_were(user: str | None, host: str, port: int | None) -> None:
    """Guards the parser for every user, host and port, and names of files made from them."""
    address = Address(host, user, port)
    assert Address.parse(str(address)) == address
    assert "/" not in address.name and ":" not in address.name


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    """Guards the command line against anything pasted into it."""
    try:
        address = Address.parse(f"ssh://{text}")
    except DeviceError as error:
        assert "expected ssh://" in str(error)
    else:
        assert not address.host.startswith("-")


def test_the_command_refuses_before_it_measures(toy_run: RunFolder) -> None:
    """Guards the command's one line and exit code."""
    done = CliRunner().invoke(main, ["bench", str(toy_run.path), "--device", "pi@raspberry"])
    assert done.exit_code == 2
    assert done.output == "error: pi@raspberry: expected ssh://user@host:port, found another kind of address\n"
