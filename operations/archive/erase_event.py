"""Run `headrace archive erase --event`: erase one event that the outbox does not have.

Its record stays in the event topic, which has no delete records. So the event is recorded as an erasure: it is never
archived again, and no sink inserts it again, in this generation of reporting or a later one. The archive goes first, as
in operations/archive/erase.py.
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
from sinks.archive.subject import Subject, personal_tables


def erase_event(  # noqa: PLR0913
    settings: Settings, out: Console, tenant: str, event: str, *, by: str | None, confirm: Callable[[str], object]
) -> None:
    """Erase an event of a tenant by its id, of any day.

    `confirm` is called with a question first; it raises to stop the command. After Unavailable, run it again to finish.

    Raises:
        HeadraceError: the outbox has the event.
        Protected: the tenant is under a legal hold.
        Unavailable: a server does not answer.
    """
    log = connections.archive(settings, by or "headrace archive erase")
    events = [table for table in personal_tables() if table.mode is Mode.EVENT]
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
        eraser = Eraser(log, event_subject(tenant, event), spool, codec=settings.archive.codec, tables=events)
        rows = erase_from_archive(eraser, {table.name: {event} for table in events})
        out.print(f"archive: erased {rows:,} rows")
        for each in reporting:
            gone = sum(each.erase_events(table, tenant, [event]) for table in events)
            out.print(f"reporting, generation {each.generation}: erased {gone:,} events")


def event_subject(tenant: str, event: str) -> Subject:
    """Return the subject of the event's erasure record. It is no person's id: no text in Postgres holds U+0000."""
    return Subject(tenant, f"\0{event}")


def erase_from_archive(eraser: Eraser, ids: Ids) -> int:
    """Erase ids from the archive until none is found, and return the number of rows.

    The archive worker may add a file before the erasure's entry.
    """
    rows = 0
    for _ in range(TRIES):
        try:
            found = eraser.find(set(), ids)
            if not found.files and eraser.erased_ids() == ids:
                eraser.delete_removed()
                return rows
            eraser.erase(found.files, ids)
        except Superseded:
            continue
        rows += found.rows
    raise HeadraceError(f"other writers change the archive too often: not erased after {TRIES} tries; run it again")
