"""`headrace status`: servers and workers on this machine, connectors, and how far each stage is behind.

All parts are queried concurrently. A part that does not answer is shown as such, beside the others.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from operations.settings import Settings
from operations.status import parts
from operations.status.parts import Part
from schemas.errors import HeadraceError


def print_status(settings: Settings, folder: Path, out: Console, *, json: bool) -> bool:
    """Print the status; return whether every server, worker and connector runs and every part answered.

    Servers and workers are listed only where `headrace up` started them. Dead letters are counted, but aren't a fault.
    """
    asked: dict[str, Callable[[], Part]] = {
        "servers": lambda: parts.servers(folder),
        "workers": lambda: parts.workers(folder),
        "connectors": lambda: parts.connectors(settings),
        "generations": lambda: parts.generations(settings),
        "stages": lambda: parts.stages(settings),
        "source": lambda: parts.source(settings),
        "freshness": lambda: parts.freshness(settings),
        "archive": lambda: parts.archive(settings),
        "dead_letters": lambda: parts.dead_letters(settings),
    }
    with ThreadPoolExecutor(max_workers=len(asked)) as pool:
        found = dict(zip(asked, pool.map(_answer, asked.values()), strict=True))
    wrong = {name: part.wrong for name, part in found.items() if part.wrong is not None}
    if json:
        answer = {name: part.found for name, part in found.items()} | {"wrong": wrong}
        out.print_json(orjson.dumps(answer).decode())
    else:
        out.print(_grid(found))
    return not wrong


def _answer(ask: Callable[[], Part]) -> Part:
    try:
        return ask()
    except HeadraceError as error:
        return Part(found=None, rows=[("", "no answer", str(error))], wrong=str(error))


def _grid(found: dict[str, Part]) -> Grid:
    grid = Grid(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for name, part in found.items():
        for number, cells in enumerate(part.rows):
            title = "" if number else name.replace("_", " ")
            grid.add_row(title, *map(Text, cells), style="red" if {"no answer", "failed"} & {*cells} else None)
    return grid
