"""Run `headrace retention`: list expired data in each store, and delete it once the archive is proven to hold it.

A plan takes the same steps as an apply, including the proofs, but deletes nothing.
"""

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import groupby

import orjson
from rich.console import Console

from messaging.decoding import Decoding
from messaging.registry import Registry
from operations import connections, generations
from operations.barrier import wait_for_barrier
from operations.months import months_ahead
from operations.probe import open_probe
from operations.retention.dead_letters import dead_letter_items
from operations.retention.errors import Protected
from operations.retention.events import EventRetention
from operations.retention.expiry import expire_archive
from operations.retention.item import RetentionItem, RetentionOutcome
from operations.retention.policy import Policy, load
from operations.retention.rows import RowRetention
from operations.retention.source import OltpRetention
from operations.retention.stores import Stores
from operations.settings import Settings
from schemas.failpoints import FailPoint, reached
from schemas.tables import TABLES, Mode, Table
from sinks.archive.batch import spooling

BARRIER_S = 120.0


def run(settings: Settings, out: Console, *, apply: bool, held: frozenset[str], json: bool) -> bool:
    """Print what is expired, and with `apply` delete it; return whether nothing had to be kept.

    `held` are tenants under a legal hold, besides those in the policy and in the source. After an error, deletions up
    to then are done, and the next run continues.

    Raises:
        HeadraceError: the policy is wrong.
        Unavailable: a server does not answer, or another retention run is active.
    """
    items: list[RetentionItem] = []
    with _opened(settings, load(settings.retention.policy), held, dry=not apply) as stores:
        for item in retention_items(stores):
            items.append(item)
            if not json:
                _show(out, item)
    if json:
        out.print_json(orjson.dumps(items).decode())
    elif not items:
        out.print("nothing is too old")
    return all(item.outcome is not RetentionOutcome.KEPT for item in items)


def apply_policy(settings: Settings, policy: Policy) -> list[RetentionItem]:
    """Delete what is expired by a policy, and return the items. Raises as `run` does."""
    with _opened(settings, policy, frozenset(), dry=False) as stores:
        return list(retention_items(stores))


def retention_items(stores: Stores) -> Iterator[RetentionItem]:
    """Yield what is expired, store by store, each item after its deletion; with `stores.dry` nothing is deleted."""
    if not stores.dry:
        yield from _make_partitions(stores)
    for part, tables in groupby(sorted(TABLES, key=_part), key=_part):
        if part:
            yield from _items(stores, part, list(tables))
    yield from _sessions(stores)
    yield from dead_letter_items(stores)
    yield from expire_archive(stores)


def _part(table: Table) -> str:
    return table.retention or ""


def _items(stores: Stores, part: str, tables: list[Table]) -> Iterator[RetentionItem]:
    try:  # first: a cutoff of the sinks must never be ahead of the source's minimum age
        for table in tables:
            stores.oltp.require_old(table, stores.before(part))
    except Protected as error:
        yield _protected(stores, part, ", ".join(table.name for table in tables), error)
        return
    for table in tables:
        if table.mode is Mode.EVENT:
            yield from EventRetention(stores, table).items()
    rows = [table for table in tables if table.mode is Mode.STATE]
    if rows:
        yield from RowRetention(stores, part, rows).items()


def _protected(stores: Stores, part: str, what: str, error: Protected) -> RetentionItem:
    """Return the item of a part that is below the source's minimum age, or has none there."""
    why = f"older than {stores.before(part):%Y-%m-%d}"
    return RetentionItem(store=part, what=what, count=0, why=why, outcome=RetentionOutcome.KEPT, detail=str(error))


def _make_partitions(stores: Stores) -> Iterator[RetentionItem]:
    first, last = months_ahead(stores.now.date())
    made = stores.oltp.make_partitions(first, last)
    if made:
        what = f"{first:%Y-%m} to {last:%Y-%m}"
        yield RetentionItem(store="partitions", what=what, count=made, why="made ahead", outcome=RetentionOutcome.MADE)


def _sessions(stores: Stores) -> Iterator[RetentionItem]:
    before, held = stores.before("sessions"), sorted(stores.held)
    try:
        stores.oltp.require_old_sessions(before)
    except Protected as error:
        yield _protected(stores, "sessions", "sales.sessions", error)
        return
    count = stores.oltp.aged_sessions(before, held)
    outcome = RetentionOutcome.GOES
    if count and not stores.dry:
        count, outcome = stores.oltp.retire_sessions(before, held), RetentionOutcome.GONE
        reached(FailPoint.SESSIONS_RETIRED)
    if count:
        why = f"last seen before {before:%Y-%m-%d}; not archived"
        yield RetentionItem(store="sessions", what="sales.sessions", count=count, why=why, outcome=outcome)


@contextmanager
def _opened(settings: Settings, policy: Policy, held: frozenset[str], *, dry: bool) -> Iterator[Stores]:
    """Connect to every store, hold the lock of one retention run at a time, and close everything at the end."""
    log = connections.archive(settings, "retention")
    log.manifest()  # an archive that can't be read, before anything else is asked
    with ExitStack() as closing:
        oltp = OltpRetention(closing.enter_context(connections.oltp(settings, "retention")))
        probe = closing.enter_context(open_probe(settings))
        numbers = generations.active_numbers(generations.read(probe.report.query))
        reports = [
            closing.enter_context(contextlib.closing(connections.report(settings, generation=number)))
            for number in numbers
        ]
        reporting = connections.retention_stores(settings)
        for store in reporting:
            closing.callback(store.close)
        registry = closing.enter_context(contextlib.closing(Registry(settings.registry.url)))
        closing.enter_context(oltp.lock())
        yield Stores(
            oltp=oltp,
            reporting=reporting,
            generations=numbers,
            log=log,
            bootstrap=settings.kafka.bootstrap,
            decoding=Decoding(registry),
            barrier=lambda: wait_for_barrier(probe, deadline_s=BARRIER_S),
            landed=lambda: generations.lowest(report.offsets() for report in reports),
            spool=closing.enter_context(spooling(log.store, settings.archive.spool)),
            codec=settings.archive.codec,
            policy=policy,
            held=policy.hold.tenants | held | oltp.legal_holds(),
            now=datetime.now(UTC),
            dry=dry,
        )


def _show(out: Console, item: RetentionItem) -> None:
    line = f"{item.outcome:9} {item.store:12} {item.what:34} {item.count:>9,}  {item.why}"
    out.print(line, markup=False, soft_wrap=True, style="red" if item.outcome is RetentionOutcome.KEPT else None)
    if item.detail:
        out.print(f"          {item.detail}", markup=False, soft_wrap=True)
