"""SIGINT and SIGTERM while processes are started and stopped, so that none is left unknown or running."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

RESEND_S = 0.05


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Deliver SIGINT and SIGTERM at the end of the block instead of within it. Other threads are never interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for arrived in received:
            signal.raise_signal(arrived)


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that it leaves no process either."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def unraisable(lost: "sys.UnraisableHookArgs", /) -> None:
        """Python only prints what is raised in a destructor or a weak reference's callback: send it once more."""
        if isinstance(lost.exc_value, KeyboardInterrupt):
            threading.Timer(RESEND_S, os.kill, (os.getpid(), signal.SIGTERM)).start()
        else:
            hook(lost)

    before, hook = signal.signal(signal.SIGTERM, interrupt), sys.unraisablehook
    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore a second Ctrl-C while the first one is handled."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
