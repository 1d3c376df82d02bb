"""The state of the machine around a block of inferences: who else used it, and did its clock move.

Counters are read before and after a block and subtracted, which costs about a millisecond and
needs no second thread that would itself disturb the block. From /proc where there is one, from
psutil (optional) elsewhere. `artoolkit.cost.accelerator` reads GPUs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from artoolkit.spec import Frozen

_PROC = Path("/proc")
_SYS = Path("/sys")
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

# Half of one core, or a clock 5 % away, moves a latency by more than the margins in use.
OTHER_CORES = 0.5
STOLEN_CORES = 0.05
CLOCK_CHANGE = 0.05
# /proc/stat counts in ticks of 10 ms: less than 3 of them is rounding.
_LEAST_S = 0.03


Disturbance = Literal[
    "other processes", "hypervisor", "CPU clock", "GPU clock", "CPU heat", "GPU throttled"
]


class BlockState(Frozen):
    """The machine while something was timed; None where this machine does not say.

    `other_cores`: cores kept busy by other processes on average; `stolen_cores`: cores that the
    hypervisor gave to somebody else; `cpu_throttles`: how often the processor slowed a core down
    because of its heat.
    """

    wall_s: float
    own_cores: float
    other_cores: float | None = None
    stolen_cores: float | None = None
    involuntary_switches: int | None = None
    cpu_throttles: int | None = None
    cpu_mhz: float | None = None
    temperature_c: float | None = None
    gpu: dict[str, float | str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Counters:
    """Seconds since boot or start: all cores busy, stolen by the hypervisor, own; and the wall.

    `switches` are involuntary ones of this process, `throttles` those of all cores since boot.
    """

    wall_s: float
    own_s: float
    busy_s: float | None
    stolen_s: float | None
    switches: int | None
    throttles: int | None = None


def parse_proc_stat(text: str, ticks: int = 100) -> tuple[float, float]:
    """Busy and stolen seconds, summed over all cores, from /proc/stat (man 5 proc)."""
    fields = [int(value) for value in text.splitlines()[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (fields + [0] * 8)[:8]
    return (user + nice + system + irq + softirq) / ticks, steal / ticks


def read_counters() -> Counters:
    """The counters now."""
    busy, stolen = None, None
    try:
        busy, stolen = parse_proc_stat((_PROC / "stat").read_text(), _TICKS)
    except (OSError, ValueError, IndexError):
        busy = _psutil_busy_s()
    return Counters(
        wall_s=time.perf_counter(),
        own_s=time.process_time(),
        busy_s=busy,
        stolen_s=stolen,
        switches=_switches(),
        throttles=throttles(),
    )


def _psutil_busy_s() -> float | None:
    try:
        import psutil
    except ImportError:
        return None
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))


def _switches() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def throttles(sys_root: Path = _SYS) -> int | None:
    """Thermal slow-downs of the cores since boot (Intel counts them); None where not counted."""
    counts = (
        _first_number(path)
        for path in sys_root.glob("devices/system/cpu/cpu*/thermal_throttle/core_throttle_count")
    )
    known = [int(count) for count in counts if count is not None]
    return sum(known) if known else None


def _first_number(path: Path) -> float | None:
    try:
        return float(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def cpu_mhz(sys_root: Path = _SYS, proc_root: Path = _PROC) -> float | None:
    """Mean clock of the first 8 cores, MHz; None where neither cpufreq nor /proc/cpuinfo says."""
    folder = sys_root / "devices/system/cpu"
    known = [_first_number(folder / f"cpu{core}/cpufreq/scaling_cur_freq") for core in range(8)]
    clocks = [khz / 1000 for khz in known if khz is not None]
    if not clocks and (proc_root / "cpuinfo").is_file():
        lines = (proc_root / "cpuinfo").read_text(errors="replace").splitlines()
        clocks = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
    return sum(clocks) / len(clocks) if clocks else None


def hottest_c(sys_root: Path = _SYS) -> float | None:
    """The highest thermal zone in degrees Celsius; None without zones (most virtual machines)."""
    zones = (_first_number(path) for path in sys_root.glob("class/thermal/thermal_zone*/temp"))
    # An unpowered zone of a Jetson reads -256 degrees.
    warm = [millis / 1000 for millis in zones if millis is not None and millis > 0]
    return max(warm) if warm else None


def state_between(
    before: Counters, after: Counters, gpu: dict[str, float | str] | None = None
) -> BlockState:
    """State of the machine between two samples, as averages over the time between them."""
    wall = max(after.wall_s - before.wall_s, 1e-9)
    own = (after.own_s - before.own_s) / wall
    other = stolen = switches = throttled = None
    if before.busy_s is not None and after.busy_s is not None:
        other = max((after.busy_s - before.busy_s) / wall - own, 0.0)
    if before.stolen_s is not None and after.stolen_s is not None:
        stolen = (after.stolen_s - before.stolen_s) / wall
    if before.switches is not None and after.switches is not None:
        switches = after.switches - before.switches
    if before.throttles is not None and after.throttles is not None:
        throttled = after.throttles - before.throttles
    return BlockState(
        wall_s=wall,
        own_cores=own,
        other_cores=other,
        stolen_cores=stolen,
        involuntary_switches=switches,
        cpu_throttles=throttled,
        cpu_mhz=cpu_mhz(),
        temperature_c=hottest_c(),
        gpu=gpu or {},
    )


class Machine:
    """Reads the state around a pair of blocks; `gpu` reads the accelerator's, if there is one."""

    def __init__(self, gpu: Callable[[], dict[str, float | str]] | None = None) -> None:
        self._gpu = gpu
        self._before = read_counters()

    def start(self) -> None:
        self._before = read_counters()

    def stop(self) -> BlockState:
        after = read_counters()
        return state_between(self._before, after, self._gpu() if self._gpu else None)


def disturbances(state: BlockState, usual: BlockState) -> dict[Disturbance, float]:
    """Disturbances of a block, each with its amount; `usual`: an undisturbed block (the median).

    Cores for other processes and the hypervisor, MHz for clocks, how often for the heat, and how
    many reasons a GPU gave. Nothing is dropped because of it: a disturbed block is reported, not
    clipped.
    """
    found: dict[Disturbance, float] = {}
    other = state.other_cores
    if other is not None and other > OTHER_CORES and other * state.wall_s > _LEAST_S:
        found["other processes"] = other
    stolen = state.stolen_cores
    if stolen is not None and stolen > STOLEN_CORES and stolen * state.wall_s > _LEAST_S:
        found["hypervisor"] = stolen
    found |= {
        what: now
        for what, now, before in _clocks(state, usual)
        if abs(now / before - 1) > CLOCK_CHANGE
    }
    if state.cpu_throttles:
        found["CPU heat"] = state.cpu_throttles
    if reasons := state.gpu.get("throttle_reasons"):
        found["GPU throttled"] = len(str(reasons).split(", "))
    return found


def _clocks(state: BlockState, usual: BlockState) -> list[tuple[Disturbance, float, float]]:
    now, before = (_number(s.gpu.get("sm_clock_mhz")) for s in (state, usual))
    pairs: list[tuple[Disturbance, float | None, float | None]] = [
        ("CPU clock", state.cpu_mhz, usual.cpu_mhz),
        ("GPU clock", now, before),
    ]
    return [(what, now, before) for what, now, before in pairs if now and before]


def _number(value: float | str | None) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def process_times() -> dict[tuple[int, str], float]:
    """CPU seconds so far of every process but this one, by process id and name."""
    times = {}
    for path in _PROC.glob("[0-9]*/stat"):
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        name = text[text.find("(") + 1 : text.rfind(")")]
        fields = text[text.rfind(")") + 2 :].split()
        process = int(path.parent.name)
        if process != os.getpid():
            times[process, name] = (int(fields[11]) + int(fields[12])) / _TICKS
    return times


def heaviest(
    before: dict[tuple[int, str], float], after: dict[tuple[int, str], float], *, most: int = 3
) -> dict[str, float]:
    """The other programs that used the most CPU seconds between two `process_times`, by name."""
    used: dict[str, float] = {}
    for key, seconds in after.items():
        used[key[1]] = used.get(key[1], 0.0) + seconds - before.get(key, 0.0)
    ranked = sorted(used.items(), key=lambda item: -item[1])[:most]
    return {name: round(seconds, 2) for name, seconds in ranked if seconds >= 0.1}
