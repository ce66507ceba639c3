"""Delete settled dead letters and decisions that have passed their retention period.

Both topics are deleted from their beginning up to the first record that is still needed:

- a letter that is open, is younger than the policy's [dead_letters], or whose event is still in its topic: the letter
  is then the proof that the event may be deleted
- a decision that is younger than [decisions], or whose letter is still stored

While a tenant is under a legal hold, nothing is deleted: a record that could not be read doesn't name its tenant.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from messaging import clients
from operations.dlq.follower import LetterFollower
from operations.retention.item import RetentionItem, RetentionOutcome
from operations.retention.stores import Stores
from schemas.tables import TABLES, Mode
from schemas.topics import DEAD_LETTERS, DECISIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledLetters:
    """Records that are no longer needed, of a topic with one partition: offsets from `start` to before `end`."""

    topic: str
    start: int
    end: int


def dead_letter_items(stores: Stores) -> Iterator[RetentionItem]:
    """Yield the expired records of both topics, each after they are deleted; with `stores.dry` nothing is deleted."""
    if stores.held:
        return
    events = [topic for table in TABLES if table.mode is Mode.EVENT for topic in table.captured_topics]
    letters, decisions = stores.before("dead_letters"), stores.before("decisions")
    milliseconds = [int(each.timestamp() * 1000) for each in (letters, decisions)]
    for found in find_settled(stores.bootstrap, events, *milliseconds):
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


def find_settled(  # noqa: PLR0913  # tests have topics of their own
    bootstrap: str,
    proven: Iterable[str],
    letters_ms: int,
    decisions_ms: int,
    *,
    dead: str = DEAD_LETTERS,
    decisions: str = DECISIONS,
) -> list[SettledLetters]:
    """Return the records that can be deleted from the dead-letter topic and from the journal of decisions.

    Args:
        bootstrap: Kafka's bootstrap servers.
        proven: the topics whose records may be deleted only where a dead letter proves them.
        letters_ms: keep dead letters written at or after this time, in milliseconds since 1970.
        decisions_ms: the same for decisions.
        dead: the dead-letter topic.
        decisions: the topic of decisions.

    Raises:
        HeadraceError: a topic is missing.
        Unavailable: Kafka does not answer.
    """
    first_offsets = clients.start_offsets(bootstrap, proven)  # first: an older first offset only keeps more letters
    with closing(LetterFollower(bootstrap, dead=dead, decisions=decisions)) as follower:
        follower.follow()
        end = _end(bootstrap, dead, letters_ms, follower.letters.first_needed(first_offsets))
        follower.letters.drop_before(end)
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
