"""Clock and energy, from texts as real machines report them."""

from __future__ import annotations

from pathlib import Path

import pytest

from feredge.benchmark import sensors, throttling
from feredge.benchmark.metrics import SensorReading
from feredge.benchmark.sensors import board_watts, clock_mhz, joules_between, rapl_counters
from feredge.benchmark.throttling import quota_throttle_count

PMIC = """\
 3V7_WL_SW_A current(0)=0.08000000A
   VDD_CORE_A current(7)=1.50000000A
    HDMI_A current(9)=0.01000000A
 3V7_WL_SW_V volt(8)=3.75000000V
   VDD_CORE_V volt(15)=0.80000000V
     EXT5V_V volt(24)=5.14000000V
"""


def write(root: Path, name: str, text: str) -> None:
    """Write one file of a fake sysfs."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.fixture
def firmware(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Outputs of a fake `vcgencmd` by its first argument; none for others."""
    outputs: dict[str, str] = {}
    monkeypatch.setattr(sensors, "vcgencmd", lambda *arguments: outputs.get(arguments[0], ""))
    return outputs


def test_clock(tmp_path: Path, firmware: dict[str, str]) -> None:
    """Guards the order of sources: the firmware, which throttles unseen by the kernel; the fastest core; cpuinfo."""
    cpuinfo = tmp_path / "cpuinfo"
    assert clock_mhz(tmp_path, cpuinfo) is None
    cpuinfo.write_text("processor\t: 0\ncpu MHz\t\t: 2100.000\n\nprocessor\t: 1\ncpu MHz\t\t: 2450.5\n")
    assert clock_mhz(tmp_path, cpuinfo) == 2450.5
    write(tmp_path, "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "600000\n")
    write(tmp_path, "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "1500000\n")
    assert clock_mhz(tmp_path, cpuinfo) == 1500
    firmware["measure_clock"] = "frequency(0)=1200126976\n"
    assert clock_mhz(tmp_path, cpuinfo) == pytest.approx(1200.126976)


def test_rapl(tmp_path: Path) -> None:
    """Guards packages against their own parts, which would count twice, and a counter that starts again from 0."""
    for zone, name, energy in (("0", "package-0", 999_000_000), ("0:0", "core", 5), ("1", "package-1", 1_000_000)):
        write(tmp_path, f"class/powercap/intel-rapl:{zone}/name", f"{name}\n")
        write(tmp_path, f"class/powercap/intel-rapl:{zone}/energy_uj", f"{energy}\n")
        write(tmp_path, f"class/powercap/intel-rapl:{zone}/max_energy_range_uj", "1000000000\n")
    before = rapl_counters(tmp_path)
    write(tmp_path, "class/powercap/intel-rapl:0/energy_uj", "1000000\n")
    write(tmp_path, "class/powercap/intel-rapl:1/energy_uj", "4000000\n")
    assert joules_between(before, rapl_counters(tmp_path)) == pytest.approx(2 + 3)
    (tmp_path / "class/powercap/intel-rapl:1/energy_uj").unlink()  # readable by root only
    assert joules_between(before, rapl_counters(tmp_path)) is None
    assert joules_between({}, {}) is None


def test_power_of_a_pi_5(firmware: dict[str, str]) -> None:
    """Guards the product of each rail's current and voltage: rails with one of them do not count."""
    firmware["pmic_read_adc"] = PMIC
    assert board_watts() == pytest.approx(0.08 * 3.75 + 1.5 * 0.8)
    firmware["pmic_read_adc"] = "error=1\n"
    assert board_watts() is None


@pytest.mark.parametrize(
    ("cgroup", "file"),
    [
        ("0::/user.slice/a\n", "fs/cgroup/user.slice/a/cpu.stat"),
        ("0::/hidden\n", "fs/cgroup/cpu.stat"),
        ("3:cpuset:/\n1:cpu,cpuacct:/docker/b\n0::/\n", "fs/cgroup/cpu,cpuacct/docker/b/cpu.stat"),
    ],
)
def test_cpu_quota(tmp_path: Path, cgroup: str, file: str) -> None:
    """Guards containers: a used-up CPU quota slows like heat, in control groups of both versions."""
    (tmp_path / "cgroup").write_text(cgroup)
    assert quota_throttle_count(tmp_path, tmp_path / "cgroup") == 0
    write(tmp_path, file, "nr_periods 100\nnr_throttled 7\nthrottled_time 9\n")
    assert quota_throttle_count(tmp_path, tmp_path / "cgroup") == 7
    before = throttling.SystemSnapshot(SensorReading("", None, ()), frozenset(), {}, 6)
    after = throttling.SystemSnapshot(SensorReading("", None, ()), frozenset(), {}, 7)
    assert throttling.compare_snapshots(before, after).slowed == ("CPU quota",)
    assert throttling.compare_snapshots(after, after).slowed == ()
