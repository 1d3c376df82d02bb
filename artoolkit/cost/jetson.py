"""A Jetson's power mode, clocks and sensors, from its own tools and files.

The parsers take text, so that they are tested anywhere; `identity`, `gpu_state` and `board_state`
read the device. CPU and GPU share one memory there: `unified_memory` is /proc/meminfo's view of it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from artoolkit.backends.tensorrt.cuda.interface import BOARD, board_model
from artoolkit.spec import Frozen

_RELEASE = Path("/etc/nv_tegra_release")
_MEMINFO = Path("/proc/meminfo")


class Clock(Frozen):
    """MHz of one unit: the bounds in effect and the frequency when it was read."""

    low_mhz: float
    high_mhz: float
    now_mhz: float

    @property
    def locked(self) -> bool:
        """True if jetson_clocks holds it: the lower bound is the upper one."""
        return self.low_mhz == self.high_mhz


class Tegrastats(Frozen):
    """One line of tegrastats: MB, percent, MHz, degrees Celsius by sensor, mW by rail."""

    ram_used_mb: int
    ram_total_mb: int
    gpu_percent: int | None = None
    gpu_mhz: tuple[int, ...] = ()
    temperatures_c: dict[str, float]
    power_mw: dict[str, int]


def is_jetson(release: Path = _RELEASE, model: Path = BOARD) -> bool:
    """True on a Jetson; a container there has no release file, but the device tree."""
    return release.is_file() or "nvidia" in (board_model(model) or "").lower()


def parse_nvpmodel(text: str) -> str | None:
    """The power mode's name in the output of `nvpmodel -q`, such as `MODE_30W` or `MAXN`."""
    match = re.search(r"NV Power Mode:\s*(\S+)", text)
    return match.group(1) if match else None


def parse_jetson_clocks(text: str) -> dict[str, Clock]:
    """Clocks by unit (`cpu0`, `GPU`, `EMC`) in the output of `jetson_clocks --show`.

    The tool prints CPU frequencies in kHz and all others in Hz.
    """
    clocks = {}
    for line in text.splitlines():
        unit = re.match(r"\s*(\w+):?\s", line)
        values = re.findall(r"(Min|Max|Current)Freq=(\d+)", line)
        if unit is None or len(values) != 3:
            continue
        scale = 1e3 if unit.group(1).startswith("cpu") else 1e6
        mhz = {name: int(value) / scale for name, value in values}
        clocks[unit.group(1)] = Clock(
            low_mhz=mhz["Min"], high_mhz=mhz["Max"], now_mhz=mhz["Current"]
        )
    return clocks


def parse_tegrastats(line: str) -> Tegrastats | None:
    """One line of tegrastats (JetPack 5 to 7); None if it is not one."""
    ram = re.search(r"\bRAM (\d+)/(\d+)MB", line)
    if ram is None:
        return None
    gpu = re.search(r"\bGR3D_FREQ (\d+)%(?:@\[?([\d,]+)\]?)?", line)
    frequencies = gpu.group(2) if gpu else None
    return Tegrastats(
        ram_used_mb=int(ram.group(1)),
        ram_total_mb=int(ram.group(2)),
        gpu_percent=int(gpu.group(1)) if gpu else None,
        gpu_mhz=tuple(int(f) for f in (frequencies or "").split(",") if f),
        # An unpowered sensor reads -256C.
        temperatures_c={n: float(c) for n, c in re.findall(r"\b(\w+)@(\d+(?:\.\d+)?)C\b", line)},
        power_mw={n: int(mw) for n, mw in re.findall(r"\b(\w+) (\d+)mW/\d+mW", line)},
    )


def parse_meminfo(text: str) -> dict[str, int]:
    """Bytes by name from /proc/meminfo: `MemTotal`, `MemAvailable`, `NvMapMemUsed`, ..."""
    found = re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)
    return {name: int(kilobytes) * 1024 for name, kilobytes in found}


def unified_memory(meminfo: Path = _MEMINFO) -> dict[str, int]:
    """Total, available and GPU-mapped bytes of the memory that CPU and GPU share."""
    values = parse_meminfo(meminfo.read_text())
    return {
        key: values[key] for key in ("MemTotal", "MemAvailable", "NvMapMemUsed") if key in values
    }


def gpu_state(sys_root: Path = Path("/sys"), meminfo: Path = _MEMINFO) -> dict[str, float | str]:
    """Now: the GPU's clock and temperature, the board's power in mW, unified memory in bytes.

    From devfreq, the thermal zones, the power monitors and /proc/meminfo: reading them takes a
    millisecond, where tegrastats would run beside the measurement.
    """
    state: dict[str, float | str] = {}
    folders = sorted(sys_root.glob("class/devfreq/*"))
    clocks = [one for one in folders if re.search(r"gpu|ga10b|gv11b|gp10b|gb10b", one.name)]
    # Thor has gpu-gpc-0 for the multiprocessors and gpu-nvd-0 for the video engines.
    clocks = [one for one in clocks if "gpc" in one.name] or clocks
    if clocks:
        state["sm_clock_mhz"] = int((clocks[0] / "cur_freq").read_text()) / 1e6
    for zone in sorted(sys_root.glob("class/thermal/thermal_zone*")):
        if "gpu" in _text(zone / "type").lower() and (millis := _text(zone / "temp")):
            state["temperature_c"] = int(millis) / 1e3
    if power := rail_power_mw(sys_root):
        state["power_mw"] = sum(power.values())
    memory = unified_memory(meminfo) if meminfo.is_file() else {}
    if "MemAvailable" in memory:
        state["memory_available_bytes"] = float(memory["MemAvailable"])
    return state


def rail_power_mw(sys_root: Path = Path("/sys")) -> dict[str, float]:
    """Power in mW by rail: INA3221 (Orin) tells volts and amperes, INA238 (Thor) microwatts."""
    rails = {}
    for label in sorted(sys_root.glob("class/hwmon/hwmon*/in?_label")):
        channel = label.name[2]
        volts, amperes = (
            _text(label.with_name(name)).strip()
            for name in (f"in{channel}_input", f"curr{channel}_input")
        )
        if volts.isdecimal() and amperes.isdecimal():
            rails[_text(label).strip()] = int(volts) * int(amperes) / 1e3
    for power in sorted(sys_root.glob("class/hwmon/hwmon*/power1_input")):
        chip, microwatts = _text(power.with_name("name")).strip(), _text(power).strip()
        if chip.startswith("ina2") and microwatts.isdecimal():
            rail = _text(power.with_name("label")).strip() or f"{chip} {power.parent.name}"
            rails[rail] = int(microwatts) / 1e3
    return rails


def _text(path: Path) -> str:
    """A file of /sys, empty where it cannot be read (a zone without power)."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _output_of(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout


def read_tegrastats(interval_ms: int = 100) -> Tegrastats | None:
    """One reading of tegrastats, which prints for ever; None where there is none."""
    if shutil.which("tegrastats") is None:
        return None
    command = ["tegrastats", "--interval", str(interval_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            line = running.stdout.readline() if running.stdout else ""
        finally:
            running.terminate()
    return parse_tegrastats(line)


def board_state() -> dict[str, str]:
    """Memory, temperatures and power as tegrastats says them, in words for a record."""
    stats = read_tegrastats()
    if stats is None:
        return {}
    found = {
        "memory": f"{stats.ram_used_mb} of {stats.ram_total_mb} MB",
        "temperatures": ", ".join(f"{n} {c:g} C" for n, c in stats.temperatures_c.items()),
        "power": ", ".join(f"{n} {mw} mW" for n, mw in stats.power_mw.items()),
    }
    return {key: value for key, value in found.items() if value}


def identity() -> dict[str, str]:
    """Board, L4T release, power mode, and which clocks are locked, for a record's environment."""
    found: dict[str, str | None] = {
        "board": board_model(),
        "l4t": _RELEASE.read_text().splitlines()[0].lstrip("# ") if _RELEASE.is_file() else None,
        "nvpmodel": parse_nvpmodel(_output_of("nvpmodel", "-q")),
    }
    clocks = parse_jetson_clocks(_output_of("jetson_clocks", "--show"))
    if clocks:
        locked = [unit for unit, clock in clocks.items() if clock.locked]
        found["locked_clocks"] = ", ".join(locked) or "none"
    return {key: value for key, value in found.items() if value} | board_state()
