"""What the system says of its clock and heat, in texts as real machines give them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feredge.benchmark import throttling
from feredge.benchmark.throttling import between, parse_celsius, parse_count, parse_throttled, read


@pytest.mark.parametrize(
    ("words", "now", "past"),
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
def test_the_firmwares_bits(words: str, now: set[str], past: set[str]) -> None:
    """Guards the low bits, which hold now, against the high ones, which only say that it has happened."""
    assert parse_throttled(words) == (now, past)


@given(st.integers(0, 2**32 - 1))
def test_every_number_is_read_bit_by_bit(value: int) -> None:
    """Guards the reading against bits that no document names."""
    now, past = parse_throttled(f"throttled={value:#x}")
    names = throttling.FIRMWARE_BITS
    assert now == {names[bit] for bit in names if value & (1 << bit)}
    assert past == {names[bit] for bit in names if value & (1 << (bit + 16))}


@given(st.text())
def test_any_text_is_read_as_something_or_nothing(words: str) -> None:
    """Guards the benchmark against a driver that answers with anything."""
    now, past = parse_throttled(words)
    assert now | past <= set(throttling.FIRMWARE_BITS.values())
    celsius, count = parse_celsius(words), parse_count(words)
    assert celsius is None or -60 < celsius < 150
    assert count is None or count >= 0


@given(st.integers(-59_999, 149_999))
def test_thousandths_of_a_degree(value: int) -> None:
    """Guards the unit."""
    assert parse_celsius(str(value)) == value / 1000


def write(sys: Path, name: str, words: str) -> None:
    """Write one file of a pretended sysfs."""
    (sys / name).parent.mkdir(parents=True, exist_ok=True)
    (sys / name).write_text(words)


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    """A sysfs as a Raspberry Pi's, with the files that are read."""
    write(tmp_path, "class/thermal/thermal_zone0/temp", "48686\n")
    write(tmp_path, "class/thermal/thermal_zone1/temp", "-274000\n")
    write(tmp_path, "class/thermal/cooling_device0/type", "cpufreq-cpu0\n")
    write(tmp_path, "class/thermal/cooling_device0/cur_state", "0\n")
    write(tmp_path, "class/thermal/cooling_device1/type", "gpio-fan\n")
    write(tmp_path, "class/thermal/cooling_device1/cur_state", "1\n")
    write(tmp_path, "devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n")
    return tmp_path


def test_a_cool_machine(pi: Path) -> None:
    """Guards against a fan, or a sensor that reads nonsense, marking every round as invalid."""
    state = read(pi)
    assert (state.reading.governor, state.reading.celsius, state.reading.slowed) == ("ondemand", 48.686, ())
    assert between(state, read(pi)).slowed == ()


def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    """Guards a container or another system: nothing is known, and nothing is claimed."""
    state = read(tmp_path)
    assert (state.reading.governor, state.reading.celsius, state.reading.slowed) == ("", None, ())


def test_a_clock_held_down_makes_the_round_invalid(pi: Path) -> None:
    """Guards both kinds of news: a state that holds at one end only, and a counter that moved in between."""
    write(pi, "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "7\n")
    before = read(pi)
    write(pi, "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "8\n")
    assert between(before, read(pi)).slowed == ("throttled",)
    write(pi, "class/thermal/cooling_device0/cur_state", "2\n")
    hot = read(pi)
    assert between(hot, hot).slowed == ("slowed to cool down",)


def test_the_firmware_is_asked(pi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the call of `vcgencmd`: what it says has happened before the round does not make the round invalid."""
    program = tmp_path / "vcgencmd"
    program.write_text(f'#!/bin/sh\ntest "$1" = get_throttled && cat {tmp_path}/says\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(throttling, "_vcgencmd", lambda: str(program))
    says = tmp_path / "says"
    says.write_text("throttled=0x10000\n")
    before = read(pi)
    assert between(before, read(pi)).slowed == ()
    says.write_text("throttled=0x50000\n")
    assert between(before, read(pi)).slowed == ("throttled",), "it came and went within the round"
    says.write_text("throttled=0x50002\n")
    assert read(pi).reading.slowed == ("frequency capped",)
    says.unlink()
    assert read(pi).reading.slowed == ()
