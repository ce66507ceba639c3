"""Deaths, stalls and reassignments of enrichment workers: every line comes out, in the end with the right entry."""

import os
import signal
from datetime import timedelta

import pytest
from enriching import enriching

from bench.enrichment_world import now
from streams.engine import Bounds

LAMP, VASE = ("shop", "lamp"), ("shop", "vase")
PATIENT = Bounds(held=100_000, seconds=600.0)
AT_ONCE = Bounds(held=0, seconds=0.0)
LINES = 6_000


@pytest.fixture
def field(settings):
    with enriching(settings) as found:
        yield found


def load(field, count=LINES, start=0):
    """Lines of a known product, of yesterday."""
    priced = now() - timedelta(hours=1)
    for number in range(start, start + count):
        field.put(field.line(LAMP, f"o{number}", priced))
    field.flush()


def enriched(field):
    return sum(status == "enriched" for status in field.statuses().values())


def known(field):
    field.price(LAMP, now() - timedelta(days=1))
    field.beat(now() + timedelta(seconds=2))
    field.flush()


def test_two_workers_one_killed_under_load_lose_nothing(field):
    known(field)
    load(field)
    # Small batches: the kill falls into the middle of the backlog.
    doomed = field.start(batch=50)
    field.eventually(lambda: field.landed().newest)
    doomed.kill()
    assert field.committed() < LINES
    field.start(batch=50)
    field.start(batch=50)
    load(field, 500, start=LINES)
    field.eventually(lambda: field.committed() == LINES + 500)
    assert enriched(field) == LINES + 500


def test_a_worker_that_joins_and_one_that_leaves_under_load_lose_nothing(field):
    known(field)
    load(field)
    first = field.start(batch=50)
    field.eventually(lambda: field.landed().newest)
    second = field.start(batch=50)
    field.eventually(lambda: second.get("/readyz")[0] == 200)
    load(field, 500, start=LINES)
    assert first.stop() == 0
    load(field, 500, start=LINES + 500)
    field.eventually(lambda: field.committed() == LINES + 1_000)
    assert enriched(field) == LINES + 1_000


def test_lines_written_down_by_a_killed_worker_are_decided_by_another(field):
    field.beat(now())
    for number in range(200):
        field.put(field.line(VASE, f"o{number}", now() - timedelta(minutes=1)))
    field.flush()
    doomed = field.start(bounds=AT_ONCE)
    field.eventually(lambda: field.committed() == 200)
    doomed.kill()
    field.price(VASE, now())
    field.beat(now() + timedelta(seconds=5))
    field.flush()
    field.start(bounds=AT_ONCE)
    field.eventually(lambda: enriched(field) == 200)
    field.eventually(lambda: set(field.waiting().values()) == {None})


def test_lines_held_by_a_killed_worker_are_read_again_and_decided(field):
    field.price(LAMP, now() - timedelta(days=1))
    field.beat(now())
    for number in range(200):
        field.put(field.line(LAMP, f"o{number}", now() + timedelta(minutes=5)))
    field.flush()
    doomed = field.start(bounds=PATIENT)
    field.eventually(lambda: list(field.statuses().values()).count("provisional") == 200)
    doomed.kill()
    assert field.committed() == 0
    field.beat(now() + timedelta(minutes=10))
    field.flush()
    field.start(bounds=PATIENT)
    field.eventually(lambda: enriched(field) == 200)
    field.eventually(lambda: field.committed() == 200)


def test_a_worker_that_was_stalled_and_taken_over_brings_nothing_back(field):
    """SIGSTOP until the group has given its partitions away, then SIGCONT: a zombie with lines in its hands."""
    field.beat(now())
    row = field.line(VASE, "o1", now() - timedelta(minutes=1))
    field.put(row)
    field.flush()
    zombie = field.start(bounds=PATIENT)
    field.eventually(field.has(o1="pending"))
    os.kill(zombie.process.pid, signal.SIGSTOP)
    try:
        other = field.start(bounds=PATIENT)
        field.put(row | {"quantity": 7}, "u")
        field.price(VASE, now())
        field.beat(now() + timedelta(seconds=5))
        field.flush()
        field.eventually(field.has(o1="enriched"))
    finally:
        os.kill(zombie.process.pid, signal.SIGCONT)
    load_known = now() - timedelta(minutes=1)
    for number in range(40):
        field.put(field.line(VASE, f"marker{number}", load_known))
    field.flush()
    field.eventually(lambda: enriched(field) == 41)
    assert field.columns("o1")["quantity"] == 7
    assert other.process.poll() is None
    field.eventually(lambda: field.committed() == 42)


def test_a_registry_that_is_down_ends_the_worker_unacked_and_the_next_one_goes_on(field):
    known(field)
    load(field, 10)
    wiring = field.wiring
    field.wiring = type(wiring)(
        **{name: getattr(wiring, name) for name in type(wiring).__slots__} | {"registry_url": "http://127.0.0.1:9/x"}
    )
    worker = field.start()
    assert worker.process.wait(90) == 1
    assert "schema registry at http://127.0.0.1:9/x does not answer" in worker.log().splitlines()[-1]
    assert field.committed() == 0
    field.wiring = wiring
    field.start()
    field.eventually(lambda: enriched(field) == 10)
