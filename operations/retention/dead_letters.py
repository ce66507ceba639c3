"""Dead letters and the decisions on them: what is settled and old enough is deleted, in the order of the topics.

Both topics are deleted from their beginning, up to the first record that is needed:

- a letter that is open, or younger than the policy's [dead_letters], or whose event is still in its topic: there the
  letter is the proof that the event may be deleted
- a decision that is younger than [decisions], or whose letter is still there

While a tenant is under a legal hold, nothing is deleted: a record that could not be read doesn't name its tenant.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from messaging import clients
from operations.dlq.follower import Follower
from operations.retention.item import RetentionItem, RetentionOutcome
from operations.retention.stores import Stores
from schemas.tables import TABLES, Mode
from schemas.topics import DEAD_LETTERS, DECISIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledLetters:
    """Records of a topic's one partition that are no longer needed: from offset `start` to before `end`."""

    topic: str
    start: int
    end: int


def settled_items(stores: Stores) -> Iterator[RetentionItem]:
    """What is settled and too old of both topics; deleted by the time it is told, unless the run is dry."""
    if stores.held:
        return
    events = [topic for table in TABLES if table.mode is Mode.EVENT for topic in table.captured_topics]
    letters, decisions = stores.before("dead_letters"), stores.before("decisions")
    milliseconds = [int(each.timestamp() * 1000) for each in (letters, decisions)]
    for found in settled(stores.bootstrap, events, *milliseconds):
        if not stores.dry:
            clients.delete_records(stores.bootstrap, (found.topic, 0), found.end)
        before = letters if found.topic == DEAD_LETTERS else decisions
        yield RetentionItem(
            store="kafka",
            what=f"{found.topic} up to {found.end}",
            count=found.end - found.start,
            why=f"settled, written before {before:%Y-%m-%d}",
            outcome=RetentionOutcome.GOES if stores.dry else RetentionOutcome.GONE,
        )


def settled(  # noqa: PLR0913  # tests have topics of their own
    bootstrap: str,
    proven: Iterable[str],
    letters_ms: int,
    decisions_ms: int,
    *,
    dead: str = DEAD_LETTERS,
    decisions: str = DECISIONS,
) -> list[SettledLetters]:
    """What can be deleted of the dead letters and of the decisions that were written before these times (milliseconds
    since 1970). `proven` are the topics whose records are deleted only if a dead letter proves them. Raises
    HeadraceError where a topic is missing, Unavailable."""
    still_there = clients.start_offsets(bootstrap, proven)  # first: a later letter may only make more of them needed
    with closing(Follower(bootstrap, dead=dead, decisions=decisions)) as follower:
        follower.follow()
        end = _end(bootstrap, dead, letters_ms, follower.letters.first_needed(still_there))
        follower.letters.forget(end)
        found = [
            SettledLetters(topic=dead, start=_start(bootstrap, dead), end=end),
            SettledLetters(
                topic=decisions,
                start=_start(bootstrap, decisions),
                end=_end(bootstrap, decisions, decisions_ms, follower.letters.first_decided()),
            ),
        ]
    return [each for each in found if each.start < each.end]


def _start(bootstrap: str, topic: str) -> int:
    return clients.start_offsets(bootstrap, [topic])[topic, 0]


def _end(bootstrap: str, topic: str, before_ms: int, needed: int | None) -> int:
    young = clients.offsets_at(bootstrap, [topic], before_ms)[topic, 0]
    return young if needed is None else min(young, needed)
