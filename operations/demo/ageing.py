"""Step 5 of the demo: an order that has passed its retention period is archived, deleted and read back."""

from datetime import UTC, date, datetime, timedelta

import orjson
from rich.console import Console

from operations import connections, migrate
from operations.archive.cat import json_lines
from operations.demo.steps import Check, matches, print_step, wait_until, wait_until_visible
from operations.retention import policy
from operations.retention import run as retention
from operations.retention.item import RetentionOutcome
from operations.retention.policy import Age
from operations.settings import Settings
from schemas.tables import EVENTS
from shop import actions
from sinks.archive.reader import ArchiveSelection

TWELVE_YEARS, ELEVEN_YEARS = timedelta(days=12 * 366), Age(years=11)


def archive_and_delete(settings: Settings, first_day: date, out: Console, check: Check) -> bool:
    """Write an order of twelve years ago, apply retention, and read the order's event back from the archive.

    Where the demo's own orders (from `first_day` on) would be too old as well, a longer retention period keeps them.
    Return whether the order has left reporting and nothing had to be kept.
    """
    at = datetime.now(UTC) - TWELVE_YEARS
    rules = policy.load(None)
    if first_day < rules.events.before(at.date() + TWELVE_YEARS):
        rules = rules.model_copy(update={"events": ELEVEN_YEARS, "orders": ELEVEN_YEARS})
    migrate.make_partitions(settings, at.date(), at.date())
    order = actions.sell_long_ago(connections.oltp(settings, "app_writer"), connections.catalog(settings), at)
    reader = connections.report(settings, "reader")
    visible = f"SELECT 1 FROM report.orders WHERE {matches(order)}"
    wait_until_visible(reader, check, visible)
    print_step(
        out,
        "[5/5] retention",
        f"an order of {at:%Y-%m-%d} was written; events are kept for {rules.events}, orders for {rules.orders}",
    )
    log, that_day = connections.archive(settings, "demo"), ArchiveSelection(since=at.date(), until=at.date())
    wait_until(check, lambda: any(json_lines(log, EVENTS, that_day)), "the event is not in the archive")
    items = retention.apply_policy(settings, rules)
    for item in items:
        outcome = "deleted" if item.outcome is RetentionOutcome.GONE else item.outcome
        print_step(out, "", f"{outcome:9}{item.store:14}{item.what:30}{item.count:>7,}")
    (event,) = map(orjson.loads, json_lines(log, EVENTS, that_day))
    print_step(out, "", f"read back from the archive: {event['event_type']} {event['payload'][:60]}…")
    return not reader.query(visible) and all(item.outcome is not RetentionOutcome.KEPT for item in items)
