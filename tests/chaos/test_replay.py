"""A replay after a change of logic, while orders are placed: killed at each step, cut over, rolled back, removed.

The pipeline's own copy of the code is changed, as a deployment would: workers that run keep the old code.
"""

import re
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
from tests.support.pipeline import OwnPipeline

EFFECTS = (  # of each kind: in reporting, in processes, by landing, and the last
    FailPoint.GENERATION_BEGUN,
    FailPoint.WORKERS_STARTED,
    FailPoint.ARCHIVE_LANDED,
    FailPoint.VIEWS_SWAPPED,
)
BUILDING = (
    FailPoint.GENERATION_BEGUN,
    FailPoint.TOPICS_MADE,
    FailPoint.WORKERS_STARTED,
    FailPoint.ARCHIVE_LANDED,
    FailPoint.CAUGHT_UP,
    FailPoint.GENERATION_PROVEN,
    FailPoint.VIEWS_SWAPPED,
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
    """Count what readers see, many times a second, for as long as the block lasts; all counts in one statement.

    That no reading at all falls between two generations is shown without a pause in tests/support/cutover.py.
    """

    def __init__(self, pipeline: OwnPipeline) -> None:
        self._pipeline = pipeline
        self._connection = pipeline.psql("reporting", "reporting_reader", "HEADRACE_REPORTING__READER_PASSWORD")
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
            while not self._done.wait(0.03):
                self.seen += self._connection.execute(COUNTS.encode()).fetchall()
        except BaseException as error:
            self.failed = error

    def check(self) -> None:
        """Check that there was no error, and that no table lost more visible rows than the shop deleted."""
        assert self.failed is None, self.failed
        for table, counts in zip(TABLES, zip(*self.seen, strict=True), strict=True):
            fallen = sum(max(0, then - now) for then, now in pairwise(counts))
            taken_out = self._taken_out().get(table, 0) - self._before.get(table, 0)
            assert fallen <= taken_out, f"{table}: {fallen} fewer, {taken_out} taken out, in {len(counts)} readings"

    def _taken_out(self) -> dict[str, int]:
        with self._pipeline.psql("shop", "migrator", "HEADRACE_OLTP__MIGRATOR_PASSWORD") as shop:
            count = "SELECT count(*) FROM sales.{} WHERE deleted_at IS NOT NULL"
            return {name: shop.execute(count.format(name).encode()).fetchall()[0][0] for name in SOFT_DELETED}


@contextmanager
def trading(pipeline: OwnPipeline, seed: int) -> Iterator[None]:
    """Place orders slowly for as long as the block lasts."""
    shop = pipeline.start("load", "shop", "--orders", "9000", "--seed", str(seed), "--rate", "4")
    try:
        yield
        assert shop.poll() is None, shop.communicate()
    finally:
        shop.kill()
        shop.communicate()


@pytest.fixture(scope="module")
def other_code(pipeline: OwnPipeline) -> Iterator[None]:
    """Round list prices to whole units in all processes that start from here on."""
    code = pipeline.folder / "streams" / "enrich.py"
    before = code.read_text()
    changed = before.replace(
        "(entry.name, entry.category, entry.price,", "(entry.name, entry.category, round(entry.price, 0),"
    )
    assert changed != before
    pipeline.run("load", "shop", "--orders", "150", "--seed", "30")
    assert pipeline.verify()["equal"]
    code.write_text(changed)
    yield
    code.write_text(before)


@pytest.fixture
def reports(pipeline: OwnPipeline) -> Iterator[psycopg.Connection[Any]]:
    with pipeline.psql("reporting", "reporting_reader", "HEADRACE_REPORTING__READER_PASSWORD") as connection:
        yield connection


def rounded(reports: psycopg.Connection[Any]) -> bool:
    """Return whether readers see the results of the other code."""
    return reports.execute(UNROUNDED.encode()).fetchall() == [(0,)]


def killed_then_cut_over(
    pipeline: OwnPipeline, reports: psycopg.Connection[Any], points: tuple[FailPoint, ...], seed: int
) -> int:
    """Check a replay that is killed at each of `points`, while orders are placed; return its number."""
    with trading(pipeline, seed), Reader(pipeline) as reader:
        for point in points:
            pipeline.dies(point, 1, "replay")
            assert not rounded(reports), point
        found = re.search(r"readers see generation (\d+)", pipeline.run("replay"))
        assert found
        assert rounded(reports)
    reader.check()
    number = int(found[1])
    assert states(pipeline) == {1: "previous", number: "live"}
    return number


def states(pipeline: OwnPipeline) -> dict[int, str]:
    said = pipeline.run("status", "--json")
    return {each["number"]: each["state"] for each in orjson.loads(said[said.index("{") :])["generations"]}


@pytest.mark.usefixtures("other_code")
def test_killed_after_each_kind_of_effect_it_goes_on_and_readers_see_all_of_the_old_or_all_of_the_new(
    pipeline: OwnPipeline, reports
):
    """The last test of this file kills it at every step."""
    assert killed_then_cut_over(pipeline, reports, EFFECTS, seed=31) == 2
    assert "generation 2, and 1 still receives changes" in " ".join(pipeline.run("replay", expect=1).split())


def test_it_is_taken_back_only_while_the_previous_generation_keeps_up(pipeline: OwnPipeline, reports):
    with trading(pipeline, 32), Reader(pipeline) as reader:
        pipeline.worker("report").send_signal(signal.SIGKILL)
        eventually(lambda: reader.seen)
        events = reader.seen[-1][TABLES.index("events")]
        eventually(lambda: reader.seen[-1][TABLES.index("events")] > events)  # generation 2 lands on
        assert "records behind" in " ".join(pipeline.run("replay", "--rollback", expect=1).split())
        assert rounded(reports)
        pipeline.run("up")
        assert "see generation 1 again" in pipeline.run("replay", "--rollback")
        assert not rounded(reports)
    reader.check()
    assert states(pipeline) == {1: "live", 2: "previous"}
    assert "there is none to roll back to" in pipeline.run("replay", "--rollback", expect=1)


def test_killed_at_each_step_of_its_removal_it_goes_on(pipeline: OwnPipeline):
    for point in REMOVING:
        pipeline.dies(point, 1, "replay", "--abort")
    assert "generation 2 is dropped" in pipeline.run("replay", "--abort")
    assert states(pipeline) == {1: "live"}


@pytest.mark.long
@pytest.mark.usefixtures("other_code")
def test_killed_at_every_step_it_goes_on(pipeline: OwnPipeline, reports):
    assert killed_then_cut_over(pipeline, reports, BUILDING, seed=33) > 1
