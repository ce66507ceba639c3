"""A generation's number is in all of its own names, and in no name that all generations share."""

import pytest

from connectors.pipeline import Pipeline
from operations.generations import Generation, State, active_numbers, live, lowest
from schemas import generations
from schemas.errors import HeadraceError
from schemas.tables import EVENTS, ORDER_LINES, of_generation
from schemas.topics import own_topics, topics
from streams.wiring import Wiring


def generation(number: int, state: State) -> Generation:
    return Generation(number=number, state=state, epoch=1)


def test_the_first_generations_names_carry_no_number():
    assert [topic.name for topic in own_topics(1)] == ["reporting.order_lines", "headrace.pending"]
    assert generations.group("headrace-enrich", 1) == "headrace-enrich"
    assert generations.schema(1) == "reporting_g1"


def test_another_generation_shares_captured_topics_and_nothing_else():
    names = [{topic.name for topic in topics(of_generation(number))} for number in (1, 2)]
    assert names[0] - names[1] == {topic.name for topic in own_topics(1)}
    assert names[1] - names[0] == {"reporting.order_lines.g2", "headrace.pending.g2"}
    assert generations.group("headrace-report", 2) == "headrace-report-g2"


def test_capture_is_the_same_for_all_generations():
    assert Pipeline(tables=of_generation(2)).own_topics() == Pipeline().own_topics()


def test_a_generations_enrichment_writes_topics_of_its_own():
    first, second = (Wiring.of_generation(number, "kafka", "registry") for number in (1, 2))
    assert first == Wiring(bootstrap="kafka", registry_url="registry")
    assert (second.lines, second.catalog, second.dead_letters) == (first.lines, first.catalog, first.dead_letters)
    assert (second.enriched, second.pending) == ("reporting.order_lines.g2", "headrace.pending.g2")
    assert second.table.landed_topics == (second.enriched,)
    assert own_topics(2, [EVENTS]) == ()
    assert ORDER_LINES.landed_topics == (first.enriched,)


def test_what_is_dropped_is_not_fed_and_readers_see_the_live_one():
    found = [generation(1, State.DROPPED), generation(2, State.LIVE), generation(3, State.BUILDING)]
    assert active_numbers(found) == [2, 3]
    assert live(found).number == 2
    with pytest.raises(HeadraceError, match="headrace migrate"):
        live(found[:1])


def test_what_a_generation_has_not_begun_holds_everything_back():
    behind = lowest([{("events", 0): 7, ("events", 1): 3}, {("events", 0): 5}])
    assert behind == {("events", 0): 5, ("events", 1): 0}
