"""Run an enrichment worker on given topics, for tests and benchmarks: `python -m tests.support.enrich_worker JSON`."""

import json
import logging
import sys
from dataclasses import asdict
from typing import Any

from schemas.errors import HeadraceError
from streams.app import run
from streams.processor import SpillLimits
from streams.wiring import Wiring
from streams.worker import EnrichmentLimits

_TABLES = ("table", "catalog_table")


def command(wiring: Wiring, group: str, *, spill: SpillLimits | None = None, **limits: Any) -> list[str]:
    """The command line of a worker."""
    names = {name: getattr(wiring, name) for name in Wiring.__slots__ if name not in _TABLES}
    what = {"wiring": names, "group": group, "pace": limits, "bounds": asdict(spill or SpillLimits())}
    return [sys.executable, "-m", "tests.support.enrich_worker", json.dumps(what)]


def main(text: str) -> int:
    """Runs the worker that `command` describes."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("headrace").setLevel(logging.INFO)
    what = json.loads(text)
    limits = EnrichmentLimits(spill=SpillLimits(**what["bounds"]), **what["pace"])
    try:
        run(Wiring(**what["wiring"]), group=what["group"], mongo_uri=None, limits=limits)
    except HeadraceError as error:
        print(f"enrich: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
