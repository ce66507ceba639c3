"""A change of logic, rebuilt while the shop trades and readers read; killed at each step, shown, taken back, removed.

The line's own copy of the code is changed, as a deployment would: workers that run keep the old code.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import orjson
import psycopg
import pytest

from schemas.failpoints import FailPoint
from tests.support.eventually import eventually
from tests.support.pipeline import Line

BUILDING = (
    FailPoint.GENERATION_BEGUN,
    FailPoint.TOPICS_MADE,
    FailPoint.WORKERS_STARTED,
    FailPoint.ARCHIVE_LANDED,
    FailPoint.CAUGHT_UP,
    FailPoint.GENERATION_PROVEN,
    FailPoint.VIEWS_TURNED,
)
REMOVING = (
    FailPoint.GENERATION_DROPPED,
    FailPoint.WORKERS_GONE,
    FailPoint.TOPICS_GONE,
)
SOFT_DELETED = ("orders", "order_lines", "payments")
TABLES = ("orders", "order_lines", "payments", "events", "products")
COUNTS = "SELECT " + ", ".join(f"(SELECT count(*) FROM report.{name})" for name in TABLES)
UNROUNDED = "SELECT count(*) FROM report.order_lines WHERE list_price <> round(list_price, 0)"


class Reader:
    """Counts what readers see, without a pause, for as long as the block lasts; once in each statement."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._connection = line.psql("reporting", "reporting_reader", "HEADRACE_REPORTING__READER_PASSWORD")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.seen: list[tuple[int, ...]] = []
        self.failed: BaseException | None = None
        self._before = self._taken_out()

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(30)
        self._connection.close()

    def _read(self) -> None:
        try:
            while not self._done.wait(0.005):
                self.seen += self._connection.execute(COUNTS.encode()).fetchall()
        except BaseException as error:
            self.failed = error

    def check(self) -> None:
        """No error; and no table lost more rows from sight than the shop took out of it."""
        assert self.failed is None, self.failed
        for table, counts in zip(TABLES, zip(*self.seen, strict=True), strict=True):
            fallen = sum(max(0, then - now) for then, now in pairwise(counts))
            taken_out = self._taken_out().get(table, 0) - self._before.get(table, 0)
            assert fallen <= taken_out, f"{table}: {fallen} fewer, {taken_out} taken out, in {len(counts)} readings"

    def _taken_out(self) -> dict[str, int]:
        with self._line.psql("shop", "migrator", "HEADRACE_OLTP__MIGRATOR_PASSWORD") as shop:
            count = "SELECT count(*) FROM sales.{} WHERE deleted_at IS NOT NULL"
            return {name: shop.execute(count.format(name).encode()).fetchall()[0][0] for name in SOFT_DELETED}


@contextmanager
def trading(line: Line, seed: int) -> Iterator[None]:
    """The shop trades, slowly, for as long as the block lasts."""
    shop = line.start("load", "shop", "--orders", "9000", "--seed", str(seed), "--rate", "4")
    try:
        yield
        assert shop.poll() is None, shop.communicate()
    finally:
        shop.kill()
        shop.communicate()


@pytest.fixture(scope="module")
def other_code(line: Line) -> Iterator[None]:
    """List prices are rounded to whole units, in whatever is started from here on."""
    code = line.folder / "streams" / "enrich.py"
    before = code.read_text()
    changed = before.replace(
        "(entry.name, entry.category, entry.price,", "(entry.name, entry.category, round(entry.price, 0),"
    )
    assert changed != before
    line.run("load", "shop", "--orders", "150", "--seed", "30")
    assert line.verify()["equal"]
    code.write_text(changed)
    yield
    code.write_text(before)


@pytest.fixture
def reports(line: Line) -> Iterator[psycopg.Connection[Any]]:
    with line.psql("reporting", "reporting_reader", "HEADRACE_REPORTING__READER_PASSWORD") as connection:
        yield connection


def rounded(reports: psycopg.Connection[Any]) -> bool:
    """Whether readers see what the other code makes."""
    return reports.execute(UNROUNDED.encode()).fetchall() == [(0,)]


def states(line: Line) -> dict[int, str]:
    said = line.run("status", "--json")
    return {each["number"]: each["state"] for each in orjson.loads(said[said.index("{") :])["generations"]}


@pytest.mark.usefixtures("other_code")
def test_killed_at_each_step_it_goes_on_and_readers_see_all_of_the_old_or_all_of_the_new(line: Line, reports):
    with trading(line, 31), Reader(line) as reader:
        for point in BUILDING:
            line.dies(point, 1, "replay")
            assert not rounded(reports), point
        assert "readers see generation 2" in line.run("replay")
        assert rounded(reports)
    reader.check()
    assert states(line) == {1: "previous", 2: "live"}
    assert "generation 2, and 1 still receives changes" in " ".join(line.run("replay", expect=1).split())


def test_it_is_taken_back_only_while_the_previous_generation_keeps_up(line: Line, reports):
    with trading(line, 32), Reader(line) as reader:
        line.worker("report").send_signal(signal.SIGKILL)
        eventually(lambda: reader.seen)
        events = reader.seen[-1][TABLES.index("events")]
        eventually(lambda: reader.seen[-1][TABLES.index("events")] > events)  # generation 2 lands on
        assert "records behind" in " ".join(line.run("replay", "--rollback", expect=1).split())
        assert rounded(reports)
        line.run("up")
        assert "see generation 1 again" in line.run("replay", "--rollback")
        assert not rounded(reports)
    reader.check()
    assert states(line) == {1: "live", 2: "previous"}
    assert "there is none to roll back to" in line.run("replay", "--rollback", expect=1)


def test_killed_at_each_step_of_its_removal_it_goes_on(line: Line):
    for point in REMOVING:
        line.dies(point, 1, "replay", "--abort")
    assert "generation 2 is dropped" in line.run("replay", "--abort")
    assert states(line) == {1: "live"}
