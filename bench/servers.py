"""The servers that a benchmark uses: those of HEADRACE_STACK_DIR, or new ones for one run."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from operations import local, local_workers
from operations.settings import Settings
from stack import supervisor


@contextmanager
def running_stack() -> Iterator[None]:
    """Use the stack in HEADRACE_STACK_DIR if it is set, else start one for this run."""
    if "HEADRACE_STACK_DIR" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        path = Path(folder) / "stack"
        os.environ["HEADRACE_STACK_DIR"] = str(path)
        try:
            supervisor.up(path)
            yield
        finally:
            supervisor.down(path, wipe=True)


@contextmanager
def running_pipeline() -> Iterator[tuple[Settings, Path]]:
    """Use the pipeline in HEADRACE_STACK_DIR if it is set, and keep it running; else start one for this run."""
    if "HEADRACE_STACK_DIR" in os.environ:
        stack = Path(os.environ["HEADRACE_STACK_DIR"])
        yield local.start(stack, print)[0], stack
        return
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        stack = Path(folder) / "stack"
        os.environ["HEADRACE_STACK_DIR"] = str(stack)
        try:
            yield local.start(stack, print)[0], stack
        finally:
            local_workers.stop_workers(stack)
            supervisor.down(stack, wipe=True)
