"""The cutover's contract on every database; tests/integration runs it on Postgres and SQL Server."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from operations import connections
from operations.generations import State
from operations.migrate import begin_generation, migrate_reporting
from operations.replay.cutover import ReportingMigrator, opened
from operations.settings import Settings
from schemas import failpoints
from schemas.errors import Unavailable
from schemas.failpoints import FailPoint
from sinks.reporting.port import Batch
from tests.support.eventually import eventually
from tests.support.trade import Tenant

COUNTS = "SELECT (SELECT COUNT(*) FROM report.orders), (SELECT COUNT(*) FROM report.payments)"
FIRST, SECOND = (2, 1), (5, 3)  # orders and payments in each generation
SWAP_S = 20.0


class Cutover:
    """A database with two generations of different content; readers see the first."""

    def __init__(self, settings: Settings, reporting: ReportingMigrator) -> None:
        self.settings, self.reporting = settings, reporting

    def counts(self) -> tuple[int, int]:
        with reading(self.settings) as counts:
            return counts()

    def states(self) -> dict[int, State]:
        return {each.number: each.state for each in self.reporting.generations()}

    def swap_views(self, number: int, catch_up: Callable[[], None] = lambda: None, deadline_s: float = SWAP_S) -> None:
        self.reporting.swap_views(number, 3 - number, catch_up, deadline_s)


@contextmanager
def reading(settings: Settings) -> Iterator[Callable[[], tuple[int, int]]]:
    """Give a function that reads the counts of orders and payments in one statement, as a reader."""
    with closing(connections.report(settings, "reader", generation=1)) as reader:
        yield lambda: tuple(*reader.query(COUNTS))


@contextmanager
def two_generations(settings: Settings) -> Iterator[Cutover]:
    """Give a Cutover in an empty database."""
    migrate_reporting(settings)
    assert begin_generation(settings).number == 2
    tenant = Tenant()
    for generation, (orders, payments) in enumerate((FIRST, SECOND), start=1):
        changes = [tenant.order(f"o-{number}", number + 1) for number in range(orders)]
        changes += [tenant.payment(f"p-{number}", number + 1) for number in range(payments)]
        landing = connections.landing(settings.of_generation(generation))
        assert landing.land(Batch(changes=changes, checkpoints={})).written == orders + payments
        landing.close()
    with opened(settings) as reporting:
        yield Cutover(settings, reporting)


def swapped_and_back(at: Cutover) -> None:
    """Check that readers see the other generation, and then the first again, and that the states say so."""
    assert (at.counts(), at.states()) == (FIRST, {1: State.LIVE, 2: State.BUILDING})
    at.swap_views(2)
    assert (at.counts(), at.states()) == (SECOND, {1: State.PREVIOUS, 2: State.LIVE})
    at.swap_views(1)
    assert (at.counts(), at.states()) == (FIRST, {1: State.LIVE, 2: State.PREVIOUS})


def all_or_nothing(at: Cutover, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cutover that ends before its commit, or whose generation stays behind, changes no view and no state."""
    before = at.counts(), at.states()

    def die(point: FailPoint) -> None:
        if point is FailPoint.VIEWS_SWAPPED:
            raise KeyboardInterrupt

    def behind() -> None:
        raise Unavailable("7 records behind")

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(failpoints, "on_reach", die)
        at.swap_views(2)
    assert (at.counts(), at.states()) == before
    with pytest.raises(Unavailable, match=r"still see generation 1: 7 records behind.*views-not-turned"):
        at.swap_views(2, behind, deadline_s=0)
    assert (at.counts(), at.states()) == before


def never_a_mix(at: Cutover, times: int) -> None:
    """Check that a reader that never pauses sees one generation or the other in each statement, and no error."""
    seen: list[tuple[int, int]] = []
    failed: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            with reading(at.settings) as counts:
                while not done.is_set():
                    seen.append(counts())
        except BaseException as error:
            failed.append(error)

    def sees(expected: tuple[int, int]) -> bool:
        return bool(failed) or seen[-1:] == [expected]

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number, expected in (*((1, FIRST), (2, SECOND)) * times, (1, FIRST)):
            if seen:
                at.swap_views(number)
            eventually(lambda expected=expected: sees(expected))  # type: ignore[misc]
    finally:
        done.set()
        thread.join(30)
    assert not failed, failed
    assert set(seen) == {FIRST, SECOND}, f"of {len(seen)} readings: {set(seen)}"


def one_at_a_time(at: Cutover) -> None:
    """Check that a second replay is refused while one is running."""
    with pytest.raises(Unavailable, match="another `headrace replay` is running"), opened(at.settings):
        pass


def dropped(at: Cutover) -> None:
    """Check that the other generation's tables are dropped, and that the next generation gets a new number."""
    at.reporting.set_state(2, State.DROPPED)
    assert at.reporting.has_schema(2)
    at.reporting.drop(2)
    assert not at.reporting.has_schema(2)
    assert at.counts() == FIRST
    assert begin_generation(at.settings).number == 3
