"""End a process at a failpoint, and lose all data that was not synced: kill -9 and a power cut in one.

A killed process leaves the page cache behind, so a missing fsync would never be seen. Here a file that was not synced
since it was last written is cut to what was, and a name whose folder was not synced is gone: each by the toss of a
coin, as a disk may have written any of them.
"""

import os
import random
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path

from schemas import failpoints
from schemas.failpoints import FailPoint


def at(point: FailPoint, times: int, folder: Path | None = None, seed: int = 0) -> None:
    """Kill this process when it reaches `point` for the `times`-th time; `folder` then loses unsynced data."""
    disk = None if folder is None else _Disk(folder, random.Random(seed))  # noqa: S311
    left = times

    def on_reach(reached: FailPoint) -> None:
        nonlocal left
        left -= reached is point
        if not left:
            if disk is not None:
                disk.lose()
            os.kill(os.getpid(), signal.SIGKILL)

    failpoints.on_reach = on_reach


class _Disk:
    """Tracks the content of `folder` that would survive a power cut: all present files, and later synced ones."""

    def __init__(self, folder: Path, coin: random.Random) -> None:
        self._folder, self._coin = folder, coin
        self._sizes = {path.stat().st_ino: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
        self._names = {folder, *folder.rglob("*")}
        self._fsync: Callable[[int], None] = os.fsync
        os.fsync = self._synced  # type: ignore[assignment]

    def _synced(self, descriptor: int) -> None:
        self._fsync(descriptor)
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            self._names.update(Path(f"/proc/self/fd/{descriptor}").readlink().iterdir())
        else:
            self._sizes[found.st_ino] = found.st_size

    def lose(self) -> None:
        """Delete or cut files that were not synced."""
        for path in sorted(self._folder.rglob("*"), reverse=True):
            if self._coin.random() < 0.5:
                continue
            if path not in self._names:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif path.is_file():
                os.truncate(path, min(self._sizes.get(path.stat().st_ino, 0), path.stat().st_size))
