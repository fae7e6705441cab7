"""Throttling and temperature, from texts as real machines report them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feredge.benchmark import throttling
from feredge.benchmark.throttling import compare_snapshots, parse_celsius, parse_count, parse_throttled, take_snapshot


@pytest.mark.parametrize(
    ("text", "current", "since_boot"),
    [
        ("throttled=0x0\n", set(), set()),
        ("throttled=0x50005\n", {"under-voltage", "throttled"}, {"under-voltage", "throttled"}),
        ("throttled=0x50000\n", set(), {"under-voltage", "throttled"}),
        (
            "throttled=0xe0008\n",
            {"soft temperature limit"},
            {"frequency capped", "throttled", "soft temperature limit"},
        ),
        ('error=1 error_msg="Command not registered"\n', set(), set()),
        ("VCHI initialization failed\n", set(), set()),
        ("", set(), set()),
    ],
)
def test_firmware_flags(text: str, current: frozenset[str], since_boot: frozenset[str]) -> None:
    """Guards current flags (low bits) against flags since boot (high bits)."""
    assert parse_throttled(text) == (current, since_boot)


@given(st.integers(0, 2**32 - 1))
def test_every_number_is_parsed_bit_by_bit(value: int) -> None:
    """Guards the parser against undocumented bits."""
    current, since_boot = parse_throttled(f"throttled={value:#x}")
    names = throttling.FIRMWARE_BITS
    assert current == {names[bit] for bit in names if value & (1 << bit)}
    assert since_boot == {names[bit] for bit in names if value & (1 << (bit + 16))}


@given(st.text())
def test_any_text_is_parsed(text: str) -> None:
    """Guards the benchmark against arbitrary text in sysfs."""
    current, since_boot = parse_throttled(text)
    assert current | since_boot <= set(throttling.FIRMWARE_BITS.values())
    celsius, count = parse_celsius(text), parse_count(text)
    assert celsius is None or -60 < celsius < 150
    assert count is None or count >= 0


@given(st.integers(-59_999, 149_999))
def test_thousandths_of_a_degree(value: int) -> None:
    """Guards the unit."""
    assert parse_celsius(str(value)) == value / 1000


def write(sysfs: Path, name: str, text: str) -> None:
    """Write one file of a fake sysfs."""
    (sysfs / name).parent.mkdir(parents=True, exist_ok=True)
    (sysfs / name).write_text(text)


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    """A fake Raspberry Pi sysfs, with the files that are read."""
    write(tmp_path, "class/thermal/thermal_zone0/temp", "48686\n")
    write(tmp_path, "class/thermal/thermal_zone1/temp", "-274000\n")
    write(tmp_path, "class/thermal/cooling_device0/type", "cpufreq-cpu0\n")
    write(tmp_path, "class/thermal/cooling_device0/cur_state", "0\n")
    write(tmp_path, "class/thermal/cooling_device1/type", "gpio-fan\n")
    write(tmp_path, "class/thermal/cooling_device1/cur_state", "1\n")
    write(tmp_path, "devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n")
    return tmp_path


def test_a_cool_machine(pi: Path) -> None:
    """Guards against a fan, or an implausible sensor value, marking every round as invalid."""
    state = take_snapshot(pi)
    assert (state.reading.governor, state.reading.celsius, state.reading.slowed) == ("ondemand", 48.686, ())
    assert compare_snapshots(state, take_snapshot(pi)).slowed == ()


def test_a_machine_without_sensors(tmp_path: Path) -> None:
    """Guards containers and other systems: empty readings."""
    state = take_snapshot(tmp_path)
    assert (state.reading.governor, state.reading.celsius, state.reading.slowed) == ("", None, ())


def test_throttling_makes_the_round_invalid(pi: Path) -> None:
    """Guards both kinds of evidence: a state at one end only, and a counter that increased in between."""
    write(pi, "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "7\n")
    before = take_snapshot(pi)
    write(pi, "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "8\n")
    assert compare_snapshots(before, take_snapshot(pi)).slowed == ("throttled",)
    write(pi, "class/thermal/cooling_device0/cur_state", "2\n")
    hot = take_snapshot(pi)
    assert compare_snapshots(hot, hot).slowed == ("slowed to cool down",)


def test_vcgencmd_is_called(pi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards `vcgencmd`: flags from before the round do not make the round invalid."""
    program = tmp_path / "vcgencmd"
    program.write_text(f'#!/bin/sh\ntest "$1" = get_throttled && cat {tmp_path}/output\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(throttling, "_vcgencmd", lambda: str(program))
    output = tmp_path / "output"
    output.write_text("throttled=0x10000\n")
    before = take_snapshot(pi)
    assert compare_snapshots(before, take_snapshot(pi)).slowed == ()
    output.write_text("throttled=0x50000\n")
    assert compare_snapshots(before, take_snapshot(pi)).slowed == ("throttled",), "throttled during the round only"
    output.write_text("throttled=0x50002\n")
    assert take_snapshot(pi).reading.slowed == ("frequency capped",)
    output.unlink()
    assert take_snapshot(pi).reading.slowed == ()
