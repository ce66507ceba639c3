"""The most memory that this process has had, since it began."""

import resource
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_mb() -> int:
    """In MB. `getrusage` would count what the parent had when it forked; other systems than Linux have nothing else."""
    if _STATUS.exists():
        (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
