"""`headrace archive erase --event`: one event that reporting and the archive have, and the outbox does not, is removed
for good.

Its record stays in the event topic, which has no delete records. So the event is entered where erasures are: the
archive never archives it again, and no sink inserts it again, in this generation of reporting or a later one. The
archive is first, for the reason that is given in operations/archive/erase.py.
"""

from collections.abc import Callable
from contextlib import ExitStack

from rich.console import Console

from operations import connections
from operations.archive.erase import TRIES
from operations.retention.errors import Protected
from operations.retention.source import OltpRetention
from operations.settings import Settings
from schemas.errors import HeadraceError
from schemas.tables import Mode
from sinks.archive.batch import spooling
from sinks.archive.erasure import Eraser, Ids
from sinks.archive.log import Superseded
from sinks.archive.subject import Subject, personal


def erase_event(  # noqa: PLR0913
    settings: Settings, out: Console, tenant: str, event: str, *, by: str | None, confirm: Callable[[str], object]
) -> None:
    """Erase an event of a tenant by its id, whatever its day. `confirm` is asked first, and raises where it must not
    be. Raises HeadraceError where the outbox has the event, and Unavailable; then running it again finishes."""
    log = connections.archive(settings, by or "headrace archive erase")
    events = [table for table in personal() if table.mode is Mode.EVENT]
    with ExitStack() as closing:
        oltp = OltpRetention(closing.enter_context(connections.oltp(settings, "retention")))
        reporting = connections.retention_stores(settings)
        for each in reporting:
            closing.callback(each.close)
        spool = closing.enter_context(spooling(log.store, settings.archive.spool))
        if tenant in oltp.legal_holds():
            raise Protected(f"tenant {tenant} is under a legal hold in sales.legal_hold")
        if any(oltp.has_event(table, tenant, event) for table in events):
            raise HeadraceError(f"event {event} of {tenant} is not erased: the outbox has it")
        confirm(f"Erase event {event} of {tenant}? No event of this id can come back.")
        eraser = Eraser(log, subject_of(tenant, event), spool, codec=settings.archive.codec, tables=events)
        rows = leave_archive(eraser, {table.name: {event} for table in events})
        out.print(f"archive: erased {rows:,} rows")
        for each in reporting:
            gone = sum(each.erase_events(table, tenant, [event]) for table in events)
            out.print(f"reporting, generation {each.generation}: erased {gone:,} events")


def subject_of(tenant: str, event: str) -> Subject:
    """What the tombstone calls the event. No record names it as a person: no text of Postgres holds U+0000."""
    return Subject(tenant, f"\0{event}")


def leave_archive(eraser: Eraser, ids: Ids) -> int:
    """Erase these ids from the archive until a look finds none; how many rows that were. The worker may add a file
    between a look and its entry."""
    rows = 0
    for _ in range(TRIES):
        try:
            found = eraser.find(set(), ids)
            if not found.files and eraser.erased() == ids:
                eraser.sweep()
                return rows
            eraser.erase(found.files, ids)
        except Superseded:
            continue
        rows += found.rows
    raise HeadraceError(f"the archive changes too fast: not erased after {TRIES} tries; run it again")
