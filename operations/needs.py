"""The settings that each command requires, so that a process can be given these alone. Opens nothing.

A command checks its own settings when it starts, and no others, so a missing one is named before anything is done.
Where MongoDB has users, `HEADRACE_CATALOG__USER` and `…__PASSWORD` go with the catalog's URI. Settings that have a
default aren't listed.
"""

from collections.abc import Sequence
from itertools import accumulate

Needs = tuple[str, ...]


def _oltp(*roles: str) -> Needs:
    return "oltp.host", *(f"oltp.{role}_password" for role in roles)


def _reporting(*roles: str) -> Needs:
    return "reporting.host", "reporting.port", *(f"reporting.{role}_password" for role in roles)


_KAFKA, _REGISTRY, _CONNECT = ("kafka.bootstrap",), ("registry.url",), ("connect.url",)
_CATALOG, _ARCHIVE = ("catalog.uri",), ("archive.url",)
_SINK = _KAFKA + _REGISTRY + _reporting("writer")
# Used by operations/probe.py, which measures how far the pipeline is.
_PIPELINE = _oltp("reporter_reader") + _CATALOG + _CONNECT + _KAFKA + _reporting("writer")
_CAPTURE = _PIPELINE + _oltp("migrator", "cdc_reader")
_REPLAY = _CAPTURE + _REGISTRY + _oltp("retention") + _reporting("migrator")
_SHOP = _oltp("migrator", "app_writer") + _CATALOG
_EVERY_OLTP = _oltp("migrator", "app_writer", "cdc_reader", "reporter_reader", "retention")
_EVERY_REPORTING = _reporting("migrator", "writer", "reader", "retention")

NEEDS: dict[str, Needs] = {
    "migrate": _EVERY_OLTP + _EVERY_REPORTING + _CATALOG,
    "connectors plan": _CAPTURE,
    "connectors apply": _CAPTURE + _reporting("migrator"),
    "connectors remove": _oltp("migrator") + _CONNECT + _KAFKA,
    "run enrich": _KAFKA + _REGISTRY + _CATALOG,
    "run report": _SINK,
    "run archive": _KAFKA + _REGISTRY + _ARCHIVE,
    "run watch": _PIPELINE + _oltp("cdc_reader"),
    "status": _PIPELINE + _oltp("cdc_reader") + _reporting("reader"),
    "verify": _PIPELINE,
    "verify --topics": _PIPELINE + _REGISTRY,
    "verify --repair": _PIPELINE + _REGISTRY + _oltp("cdc_reader") + _reporting("retention"),
    "retention": _PIPELINE + _REGISTRY + _ARCHIVE + _oltp("retention") + _reporting("retention"),
    "archive": _ARCHIVE,
    "archive erase": _ARCHIVE + _oltp("retention") + _reporting("retention"),
    "archive restore": _ARCHIVE + _KAFKA + _REGISTRY,
    "archive skip": _ARCHIVE + _KAFKA,
    "archive backfill": _ARCHIVE + _oltp("reporter_reader"),
    "dlq": _KAFKA,
    "dlq show": _KAFKA + _REGISTRY,
    "dlq redrive": _SINK,
    "epoch ls": _reporting("writer"),
    "epoch accept": _oltp("reporter_reader", "cdc_reader") + _reporting("migrator"),
    "epoch raise": _REPLAY,
    "replay": _REPLAY,
    "load": _SHOP,
    "demo --running": _EVERY_OLTP + _EVERY_REPORTING + _CATALOG + _SINK + _CONNECT + _ARCHIVE,
}


def of(command: Sequence[str]) -> Needs:
    """Return the settings that a command line (`run`, `report`, …) requires. Raises KeyError for an unlisted one."""
    known = [line for line in accumulate(command, "{} {}".format) if line in NEEDS]
    return tuple(dict.fromkeys(NEEDS[known[-1]])) if known else NEEDS[" ".join(command)]
