"""The contract of epochs and freshness in every reporting database: the same steps on Postgres and SQL Server."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

from operations import connections
from operations.databases.sides import Report
from operations.epoch import store
from operations.epoch.history import Identity
from operations.freshness import Stamp, stamp
from operations.settings import Settings

SYSTEM = 7_712_231_545_563_154_554  # more digits than a double has


def epochs_follow_each_other(settings: Settings) -> None:
    with closing(connections.report(settings, "migrator")) as migrator, closing(connections.report(settings)) as writer:
        _epochs(migrator, writer)


def _epochs(migrator: Report, writer: Report) -> None:
    assert store.newest(writer) is None
    for _ in range(2):  # the second call changes nothing
        store.begin(migrator, 1, Identity(system=SYSTEM, timeline=1), reason="capture begins", by="a test")
    store.set_timeline(writer, 1, 4)
    for why in ("its log ends early", "something else"):
        store.end(writer, 1, why, datetime.now(UTC))
    store.begin(migrator, 2, Identity(system=SYSTEM, timeline=5), reason="x" * 1_000, by="a test")
    first, second = store.epochs(writer)
    assert (first.identity, first.ended) == (Identity(system=SYSTEM, timeline=4), "its log ends early")
    assert (second.number, second.ended, second.reason) == (2, None, "x" * 512)
    assert store.newest(writer) == second


def freshness_is_read_as_it_was_stamped(settings: Settings) -> None:
    with closing(connections.report(settings)) as writer, closing(connections.report(settings, "reader")) as reader:
        _freshness(writer, reader)


def _freshness(writer: Report, reader: Report) -> None:
    through = (datetime.now(UTC) - timedelta(seconds=60)).replace(microsecond=123_457)
    for moment in (through, through - timedelta(seconds=5)):  # the second is of a slower worker
        stamp(writer, 1, "orders", Stamp.COMPLETE, moment)
    stamp(writer, 1, "orders", Stamp.VERIFIED, through - timedelta(seconds=7))
    ((name, complete, lag, passed, verified),) = reader.query(
        "SELECT table_name, complete_through, lag_seconds, passed_at, verified_through FROM report.freshness"
    )
    assert (name, complete.replace(tzinfo=UTC)) == ("orders", through)
    assert verified.replace(tzinfo=UTC) == through - timedelta(seconds=7)
    assert 59 < lag < 120
    assert abs(passed.replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(seconds=60)
