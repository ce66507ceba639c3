"""Deaths, stalls and reassignments of enrichment workers: every line comes out, in the end with the right entry."""

import os
import signal
from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.tables import ORDER_LINES
from streams.processor import SpillLimits
from tests.support.enrichment import Gate, enriching
from tests.support.enrichment_world import now

LAMP, VASE = ("shop", "lamp"), ("shop", "vase")
PATIENT = SpillLimits(lines=100_000, seconds=600.0)
AT_ONCE = SpillLimits(lines=0, seconds=0.0)
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
    load(field, 500)
    count = 500
    # Small batches, and always more of them than have been taken: reassigned with lists on their way to the agent.
    first = field.start(batch=10)
    field.eventually(lambda: field.landed().newest)
    second = field.start(batch=10)
    while "assigned partitions" not in second.log():
        if field.committed() > count - 300:
            load(field, 300, start=count)
            count += 300
    load(field, 300, start=count)
    assert first.stop() == 0
    count += 300
    field.eventually(lambda: field.committed() == count)
    assert enriched(field) == count


def test_lines_written_down_by_a_killed_worker_are_decided_by_another(field):
    field.beat(now())
    for number in range(200):
        field.put(field.line(VASE, f"o{number}", now() - timedelta(minutes=1)))
    field.flush()
    doomed = field.start(spill=AT_ONCE)
    field.eventually(lambda: field.committed() == 200)
    doomed.kill()
    field.price(VASE, now() - timedelta(seconds=10))
    field.beat(now())
    field.flush()
    field.start(spill=AT_ONCE)
    field.eventually(lambda: enriched(field) == 200)
    field.eventually(lambda: set(field.undecided().values()) == {None})


def test_lines_held_by_a_killed_worker_are_read_again_and_decided(field):
    field.price(LAMP, now() - timedelta(days=1))
    field.beat(now() - timedelta(minutes=10))
    for number in range(200):
        field.put(field.line(LAMP, f"o{number}", now() - timedelta(minutes=5)))
    field.flush()
    doomed = field.start(spill=PATIENT)
    field.eventually(lambda: list(field.statuses().values()).count("provisional") == 200)
    doomed.kill()
    assert field.committed() == 0
    field.beat(now())
    field.flush()
    field.start(spill=PATIENT)
    field.eventually(lambda: enriched(field) == 200)
    field.eventually(lambda: field.committed() == 200)


def test_a_worker_that_was_stalled_and_taken_over_brings_nothing_back(field):
    """SIGSTOP in the middle of deciding, until the group has given its partitions away; then SIGCONT: the zombie goes
    on sending what it held, behind newer changes that another worker has sent."""
    priced = now() - timedelta(minutes=1)
    rows = [field.line(VASE, f"o{number}", priced) for number in range(6_000)]
    field.beat(now())
    for row in rows:
        field.put(row)
    field.flush()
    zombie = field.start(spill=PATIENT)
    field.eventually(lambda: len(field.statuses()) == len(rows))
    field.price(VASE, now() - timedelta(seconds=10))
    field.beat(now())
    field.flush()
    sent = field.sent()
    field.eventually(lambda: field.sent() > sent, pause_s=0)
    os.kill(zombie.process.pid, signal.SIGSTOP)
    try:
        field.start(spill=PATIENT)
        for row in rows:
            field.put(row | {"quantity": 7}, "u")
        field.flush()
        field.eventually(lambda: field.committed() == 2 * len(rows))
    finally:
        os.kill(zombie.process.pid, signal.SIGCONT)
    # It finishes what it had in hand first, as it does not know yet that it is no longer its own.
    assert zombie.stop() == 0
    quantity = [column.name for column in ORDER_LINES.columns].index("quantity")
    landed = field.landed().newest.values()
    assert {(change.row[quantity], change.row[-1]) for change in landed} == {(7, "enriched")}
    assert len(landed) == len(rows)


def test_a_registry_that_is_down_at_the_start_is_named_in_one_line(field):
    field.wiring = replace(field.wiring, registry_url="http://127.0.0.1:9/x")
    worker = field.start(patience=2.0)
    assert worker.process.wait(300) == 2
    assert "schema registry at http://127.0.0.1:9/x does not answer" in worker.log().splitlines()[-1]


def test_a_registry_that_goes_down_makes_no_dead_letters_of_good_lines(field):
    known(field)
    wiring = field.wiring
    with Gate(wiring.registry_url) as gate:
        field.wiring = replace(wiring, registry_url=gate.url)
        worker = field.start(patience=2.0)
        field.eventually(lambda: worker.get("/readyz")[0] == 200)
    load(field, 10)
    assert worker.process.wait(300) == 2
    assert f"schema registry at {gate.url} does not answer" in worker.log().splitlines()[-1]
    assert field.committed() == 0
    assert list(field.read(wiring.dead_letters)) == []
    field.wiring = wiring
    field.start()
    field.eventually(lambda: enriched(field) == 10)
