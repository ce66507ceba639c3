"""`headrace verify --follow`: one table after the other is compared, again and again, for as little load as is asked.

A table that was found equal is noted as verified up to its barrier, in `reporting_gN.freshness` and for Prometheus.
"""

import threading
import time
from collections.abc import Callable
from itertools import cycle

from prometheus_client import Gauge

from operations import connections
from operations.barrier import PipelineProbe, log_of
from operations.databases.sides import Report
from operations.freshness import Stamp, stamp, stamped
from operations.settings import Settings
from operations.verify.run import VerifySelection, compare_selection
from operations.verify.settle import Result
from schemas.errors import HeadraceError, Unavailable

PAUSE_S = 1.0  # at least, between two tables
RETRY_S = 5.0  # after a server that did not answer

VERIFIED_THROUGH = Gauge(
    "headrace_verified_through_seconds", "Up to when, by its source's clock, a table was found equal.", ["table"]
)
DIFFERENT = Gauge("headrace_verify_different", "Rows that differed in the last comparison of the table.", ["table"])
UNSETTLED = Gauge(
    "headrace_verify_unsettled", "Rows that could not be decided when a table was compared last.", ["table"]
)


def follow(  # noqa: PLR0913
    settings: Settings,
    selection: VerifySelection,
    *,
    generation: int | None,
    max_load: float,
    deadline_s: float,
    stopping: threading.Event,
    on_result: Callable[[Result], None],
    on_trouble: Callable[[str], None],
) -> None:
    """Compare whole tables until `stopping`. No more than `max_load` of the time (0 to 1) is spent on it. What keeps it
    from looking is told to `on_trouble`, and tried again."""
    names = cycle(selection.tables)
    while not stopping.is_set():
        try:
            with connections.open_probe(settings, generation) as probe:
                resume(selection, probe.report)
                while not stopping.is_set():
                    began = time.monotonic()
                    result = compare_selection(probe, VerifySelection(tables=[next(names)]), deadline_s=deadline_s)
                    note(result, probe)
                    on_result(result)
                    stopping.wait(rest(time.monotonic() - began, max_load))
        except Exception as error:
            if not isinstance(error, Unavailable) and not connections.of_a_server(error):
                raise
            on_trouble(" ".join(str(error).split()))
            stopping.wait(RETRY_S)


def rest(spent_s: float, max_load: float) -> float:
    """How many seconds to leave the databases alone after `spent_s` of looking."""
    return max(PAUSE_S, spent_s * (1 / max_load - 1))


def resume(selection: VerifySelection, report: Report) -> None:
    """Export what is noted already: a table that is not equal any more grows old also after a restart."""
    for table, through in stamped(report, report.generation, Stamp.VERIFIED).items():
        if table in selection.tables:
            VERIFIED_THROUGH.labels(table).set(through.timestamp())


def note(result: Result, probe: PipelineProbe) -> None:
    """Note the tables of a comparison that are equal as verified up to its barrier."""
    for each in result.tables:
        table = each.table
        DIFFERENT.labels(table.name).set(len(each.different) + each.unread)
        UNSETTLED.labels(table.name).set(each.undecided)
        if each.equal:
            through = result.through[log_of(table)]
            stamp(probe.report, probe.report.generation, table.name, Stamp.VERIFIED, through)
            VERIFIED_THROUGH.labels(table.name).set(through.timestamp())


def whole(selection: VerifySelection) -> None:
    """Raises HeadraceError for a selection that isn't of whole tables: a part says nothing of the rest."""
    scope = selection.scope
    if scope.tenants or scope.months or scope.since:
        raise HeadraceError("--follow notes whole tables as verified: choose them by --table alone")
