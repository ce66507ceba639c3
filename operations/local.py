"""The line on this machine: servers without Docker, migrated and capturing, and the workers beside them."""

import os
from pathlib import Path

from rich.console import Console

from operations import capture, migrate, workers
from operations.settings import Settings, load
from stack import supervisor

READY = "ready"


def up(folder: Path, out: Console) -> Settings:
    """Start what isn't running, migrate, apply the connectors; returns the settings of the running line.

    The databases are migrated while Connect, the slowest server, still starts.
    """
    began: dict[str, float] = {}

    def on_event(server: str, state: str, seconds: float) -> None:
        if state == READY:
            began[server] = seconds
        elif server == "java":
            out.print(f"      {state}", style="dim")

    with supervisor.starting(folder, on_event=on_event) as stack:
        stack.wait_for("postgres")
        settings = Settings(**{})
    return settings
