"""Live terminal display; plain lines when not a TTY.

Also the exit codes, and the name under which this command was invoked, for hints that can be copied.
"""

import getpass
import os
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console

if TYPE_CHECKING:  # imported where a command draws, so that `headrace --help` starts fast
    from rich.table import Table as Grid

EXIT_FAILED, EXIT_UNDECIDED, EXIT_INTERRUPTED = 1, 2, 130

PLAIN_WIDTH = 120  # columns, where the output is a file or a pipe
out = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else PLAIN_WIDTH)


def print_line(text: str) -> None:
    """Print one line of progress, without wrapping it or interpreting markup."""
    out.print(text, markup=False, soft_wrap=True)


def print_error(text: str) -> None:
    """Print one line on stderr, in red on a terminal."""
    err.print(f"headrace: {text}", style="red", markup=False)


class LiveDisplay:
    """On a terminal, a table that is redrawn in place. Elsewhere, lines at most every `every_s` seconds."""

    def __init__(self, out: Console, every_s: float) -> None:
        from rich.live import Live

        self._out, self._every_s = out, every_s
        self._live = Live(console=out, auto_refresh=False) if out.is_terminal else None
        self._printed = 0.0
        self.began = time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def redraw(self, now: float, grid: "Grid", lines: Iterable[str], *, last: bool) -> None:
        """Draw `grid`, or print `lines`. `now` is of `time.monotonic`; the `last` lines are always printed."""
        if self._live:
            self._live.update(grid, refresh=True)
        elif last or now - self._printed >= self._every_s:
            self._printed = now
            for line in lines:
                self._out.print(f"      {line}", markup=False, soft_wrap=True)


@contextmanager
def progress_bar(title: str, waiting: str, total: int) -> Iterator[Callable[[str], None]]:
    """Draw a bar on stderr, on a terminal only. Call the function with the name of each of `total` items as it begins.

    `waiting` is shown until the first one.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeElapsedColumn(), console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(waiting, total=total)
        begun = 0

        def begin(name: str) -> None:
            nonlocal begun
            bar.update(task, completed=begun, description=name)
            begun += 1

        yield begin


def invocation(arguments: str) -> str:
    """Return `headrace <arguments>` as the caller would type it here.

    After `make up` this is `.venv/bin/headrace …`, because the program isn't in PATH.
    """
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(_relative(Path(sys.executable)))} -m operations {arguments}"
    found = shutil.which(called.name)
    if found is None or not called.exists() or not called.samefile(found):
        return f"{shlex.quote(_relative(called))} {arguments}"
    return f"{called.name} {arguments}"


def invoking_user() -> str:
    """Return `user@host`, with the user's number where it has no name (in some containers)."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _relative(path: Path) -> str:
    absolute = path.absolute()  # not resolved: the interpreter's link determines which packages it finds
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(path)
