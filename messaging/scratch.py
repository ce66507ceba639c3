"""A folder for a process's temporary files that leaves nothing behind, even when the process is killed.

A killed process can't delete its folder, so each process deletes at its start the folders of processes that have ended.
A file lock tells them apart: the kernel releases it when its owner dies, however that happens.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_LOCK = "lock"


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder below `parent`, which is created, and delete it afterwards.

    First delete the folders with `prefix` whose processes have ended.

    Raises:
        OSError: `parent` can't be written.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as closing:
        with _locked(parent):  # a folder that is not locked yet would look abandoned
            _delete_abandoned(parent, prefix)
            own = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix=prefix, dir=parent)))
            lock = closing.enter_context((own / _LOCK).open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield own


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _delete_abandoned(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        try:
            with (folder / _LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            pass  # its process ended before it could lock it
        except OSError:  # its process is alive, or it belongs to another user
            continue
        shutil.rmtree(folder, ignore_errors=True)
