"""Run an enrichment worker on given topics, for tests and benchmarks: `python -m tests.support.enrich_worker JSON`."""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from schemas.errors import HeadraceError
from streams.app import run
from streams.processor import SpillLimits
from streams.wiring import Wiring
from streams.worker import EnrichmentLimits

_TABLES = ("table", "catalog_table")


def command(
    wiring: Wiring, group: str, *, spill: SpillLimits | None = None, state_dir: Path | None = None, **limits: Any
) -> list[str]:
    """Return the command line of a worker. `limits` are fields of EnrichmentLimits."""
    options = {
        "wiring": {name: getattr(wiring, name) for name in Wiring.__slots__ if name not in _TABLES},
        "group": group,
        "limits": limits,
        "spill": asdict(spill or SpillLimits()),
        "state_dir": state_dir and str(state_dir),
    }
    return [sys.executable, "-m", "tests.support.enrich_worker", json.dumps(options)]


def main(text: str) -> int:
    """Run the worker that `command` describes, and return the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("headrace").setLevel(logging.INFO)
    options = json.loads(text)
    limits = EnrichmentLimits(spill=SpillLimits(**options["spill"]), **options["limits"])
    state_dir = options["state_dir"] and Path(options["state_dir"])
    wiring = Wiring(**options["wiring"])
    try:
        run(wiring, group=options["group"], mongo_uri=None, state_dir=state_dir, limits=limits)
    except HeadraceError as error:
        print(f"enrich: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
