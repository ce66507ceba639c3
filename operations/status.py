"""`headrace status`: servers of this machine, connectors, and how far each stage is."""

from dataclasses import asdict
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table as Grid

from connectors.connect import Connect
from connectors.line import Line
from kafka.dead_letters import listing
from operations import connections
from operations.settings import Settings
from operations.stages import Stages
from stack import supervisor

MEGABYTE = 1 << 20


def show(settings: Settings, folder: Path, out: Console, *, json: bool) -> None:
    """Print the status. Servers are listed where `headrace up` started them. Raises Unavailable, HeadraceError."""
    servers = [server for server in supervisor.status(folder) if server.port is not None]
    connect, line = Connect(settings.connect.url), Line()
    connectors = {name: connect.status(name) for name in map(line.connector, line.sources)}
    stages = Stages(connections.hops(settings)).sample()
    dead = len(listing(settings.kafka.bootstrap))
    if json:
        said = {
            "servers": [asdict(server) | {"log": str(server.log)} for server in servers],
            "connectors": {name: asdict(found) for name, found in connectors.items()},
            "stages": [{"name": each.name, "records": each.records, "behind": each.behind} for each in stages],
            "dead_letters": dead,
        }
        out.print_json(orjson.dumps(said).decode())
        return
    grid = Grid(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for server in servers:
        state = "ready" if server.ready else "starting" if server.running else "stopped"
        grid.add_row("server", server.name, state, f"port {server.port}, {server.memory_bytes / MEGABYTE:.0f} MB")
    for name, found in connectors.items():
        state = "running" if found.running else found.state.lower()
        grid.add_row("connector", name, state, found.failure or "")
    for stage in stages:
        grid.add_row("stage", stage.name, f"{stage.records:,} records", f"{stage.behind:,} {stage.unit} behind")
    grid.add_row("dead letters", "", f"{dead:,}", "headrace dlq ls" if dead else "")
    out.print(grid)
