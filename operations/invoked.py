"""How this command was called, and by whom: for hints that can be copied, and for what is kept of who did what."""

import getpass
import os
import shlex
import shutil
import socket
import sys
from pathlib import Path


def command(arguments: str) -> str:
    """`headrace <arguments>` as the caller would type it here: `.venv/bin/headrace status`, as after `make up` it is in
    no PATH."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(_from_here(Path(sys.executable)))} -m operations {arguments}"
    found = shutil.which(called.name)
    if found is None or not called.exists() or not called.samefile(found):
        return f"{shlex.quote(_from_here(called))} {arguments}"
    return f"{called.name} {arguments}"


def who() -> str:
    """Who has called this command: `user@host`, or the user's number where it has no name (in some containers)."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _from_here(path: Path) -> str:
    absolute = path.absolute()  # not resolved: an interpreter's link says which packages it has
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(path)
