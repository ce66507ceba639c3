"""List the epochs: `headrace epoch ls`."""

from contextlib import closing
from dataclasses import asdict

import orjson
from rich.console import Console

from operations import connections
from operations.epoch import store
from operations.settings import Settings


def print_epochs(settings: Settings, out: Console, *, json: bool) -> None:
    """Print the epochs, in order."""
    with closing(connections.report(settings)) as report:
        found = store.epochs(report)
    if json:
        out.print_json(orjson.dumps([asdict(each) for each in found]).decode())
        return
    for each in found:
        where = f"system {each.identity.system}, timeline {each.identity.timeline}"
        line = f"{each.number:>3}  {each.raised_at:%Y-%m-%d %H:%M}  {each.reason}  ({each.raised_by}; {where})"
        out.print(line + (f"  ended: {each.ended}" if each.ended else ""), markup=False, soft_wrap=True)
