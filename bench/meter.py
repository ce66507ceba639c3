"""Measure the time, CPU and peak memory of this process."""

import resource
import time
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")


def peak_mb() -> int:
    """Return the peak in MB. On Linux not from `getrusage`, which includes the parent's memory at the fork."""
    if _STATUS.exists():
        (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


class Meter:
    """Wall time, CPU and memory of this process while it handles `count` records."""

    def __init__(self) -> None:
        self.count = 0
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._memory: list[int] = []

    def sample(self) -> None:
        """Record the memory in use."""
        self._memory.append(peak_mb())

    def result(self) -> dict[str, Any]:
        """Return records a second, CPU in µs a record, peak memory in MB, and the peak half way."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {
            "records": self.count,
            "rate": self.count / wall,
            "cpu": cpu / self.count * 1e6,
            "peak": self._memory[-1],
            "half_way": self._memory[len(self._memory) // 2],
        }
