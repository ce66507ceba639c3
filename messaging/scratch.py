"""A folder for a process's temporary files that leaves nothing behind, even when the process is killed.

A killed process can't delete its folder, so each process deletes at its start the folders of processes that have ended.
A file lock tells them apart: the kernel releases it when its owner dies, however that happens.
"""

import fcntl
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
    _delete_abandoned(parent, prefix)
    with ExitStack() as closing:
        unlocked = Path(tempfile.mkdtemp(prefix=f".{prefix}", dir=parent))
        closing.callback(shutil.rmtree, unlocked, ignore_errors=True)
        lock = closing.enter_context((unlocked / _LOCK).open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Only now may it have a name that other processes look for: without a lock it would look abandoned.
        own = unlocked.rename(parent / unlocked.name[1:])
        closing.callback(shutil.rmtree, own, ignore_errors=True)
        yield own


def _delete_abandoned(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        try:
            with (folder / _LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            pass
        except OSError:  # its process is alive, or it belongs to another user
            continue
        shutil.rmtree(folder, ignore_errors=True)
