"""Compare one table after the other, repeatedly, within a limited load: `headrace verify --follow`.

A table that was found equal is recorded as verified up to its barrier, in `reporting_gN.freshness` and for Prometheus.
"""

import threading
import time
from collections.abc import Callable
from itertools import cycle

from prometheus_client import Gauge

from operations import connections
from operations.barrier import PipelineProbe, source_of
from operations.databases.sides import Report
from operations.freshness import Stamp, stamp, stamped
from operations.probe import open_probe
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
    """Compare whole tables until `stopping` is set.

    Args:
        settings: Where the servers are.
        selection: The tables to compare, in turn.
        generation: The generation to compare; None for the live one.
        max_load: The share of the time, from 0 to 1, that comparing may take.
        deadline_s: Seconds that the pipeline has to catch up in each comparison.
        stopping: Ends the loop.
        on_result: Called with each comparison.
        on_trouble: Called with the message when a server does not answer; the comparison is then retried.
    """
    names = cycle(selection.tables)
    while not stopping.is_set():
        try:
            with open_probe(settings, generation) as probe:
                restore_metrics(selection, probe.report)
                while not stopping.is_set():
                    began = time.monotonic()
                    result = compare_selection(probe, VerifySelection(tables=[next(names)]), deadline_s=deadline_s)
                    record_result(result, probe)
                    on_result(result)
                    stopping.wait(pause_after(time.monotonic() - began, max_load))
        except Exception as error:
            if not isinstance(error, Unavailable) and not connections.of_a_server(error):
                raise
            on_trouble(" ".join(str(error).split()))
            stopping.wait(RETRY_S)


def pause_after(spent_s: float, max_load: float) -> float:
    """Return for how many seconds to pause after a comparison that took `spent_s` seconds."""
    return max(PAUSE_S, spent_s * (1 / max_load - 1))


def restore_metrics(selection: VerifySelection, report: Report) -> None:
    """Export the times that are recorded, so that a table that is no longer equal ages after a restart, too."""
    for table, through in stamped(report, report.generation, Stamp.VERIFIED).items():
        if table in selection.tables:
            VERIFIED_THROUGH.labels(table).set(through.timestamp())


def record_result(result: Result, probe: PipelineProbe) -> None:
    """Record the tables that are equal as verified up to the comparison's barrier."""
    for each in result.tables:
        table = each.table
        DIFFERENT.labels(table.name).set(len(each.different) + each.unread)
        UNSETTLED.labels(table.name).set(each.undecided)
        if each.equal:
            through = result.through[source_of(table)]
            stamp(probe.report, probe.report.generation, table.name, Stamp.VERIFIED, through)
            VERIFIED_THROUGH.labels(table.name).set(through.timestamp())


def require_whole_tables(selection: VerifySelection) -> None:
    """Check that a selection is of whole tables, as a part proves nothing about the rest.

    Raises:
        HeadraceError: The selection has tenants or months.
    """
    scope = selection.scope
    if scope.tenants or scope.months or scope.since:
        raise HeadraceError("--follow notes whole tables as verified: choose them by --table alone")
