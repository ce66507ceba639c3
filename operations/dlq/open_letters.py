"""Track open dead letters by the identity of their records, in a private temporary SQLite database.

A faulty stream can produce millions of dead letters. SQLite keeps a few megabytes of pages in memory and the rest in a
file that is deleted with the process. Keys and values of the records are not stored.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping

from messaging.dead_letters import Refusal
from operations.dlq.decisions import Decision, Verdict

CACHE_KIB = 4_096
FOR_GOOD = 2**63 - 1  # a discarded record is settled whatever is refused later
NOT_SETTLED = -1

# `first` and `last` are the offsets of the record's first and last dead letter. `settled` is the offset of the last
# dead letter that the last decision covers, `decided` the offset of that decision in the journal.
_TABLE = """
CREATE TABLE letter (
    topic TEXT, partition INTEGER, "offset" INTEGER, timestamp INTEGER,
    error TEXT, first INTEGER, last INTEGER, settled INTEGER DEFAULT -1, decided INTEGER,
    PRIMARY KEY (topic, partition, "offset", timestamp)
) WITHOUT ROWID
"""
_REFUSED = """
INSERT INTO letter (topic, partition, "offset", timestamp, error, first, last) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET error = excluded.error, first = coalesce(first, excluded.first), last = excluded.last
"""
_DECIDED = """
INSERT INTO letter (topic, partition, "offset", timestamp, settled, decided) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET settled = excluded.settled, decided = excluded.decided
"""


class OpenLetters:
    """Holds refusals and decisions, added in the order of their topics; the last one of each record counts.

    Adding a range again, from its beginning, is idempotent. Not thread-safe.
    """

    def __init__(self) -> None:
        self._rows = sqlite3.connect("", isolation_level=None)
        self._rows.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._rows.execute("PRAGMA journal_mode = OFF")
        self._rows.execute(_TABLE)

    def refused(self, refusals: Iterable[Refusal]) -> None:
        """Add refusals. A record that is refused again after a redrive is open again."""
        self._add(_REFUSED, (_refused(each) for each in refusals))

    def decided(self, decisions: Iterable[tuple[int, Decision]]) -> None:
        """Add decisions, each with its offset in the journal."""
        self._add(_DECIDED, ((*each.identity, _settles(each), at) for at, each in decisions))

    def drop_before(self, before: int) -> None:
        """Drop letters below offset `before`, which the topic no longer holds."""
        self._rows.execute("DELETE FROM letter WHERE last < ?", [before])

    def count(self) -> Counter[tuple[str, str]]:
        """Return the number of open records by (topic, error type)."""
        found = self._rows.execute(
            "SELECT topic, error, count(*) FROM letter WHERE last > settled GROUP BY topic, error"
        )
        return Counter({(topic, error): count for topic, error, count in found})

    def first_needed(self, first_offsets: Mapping[tuple[str, int], int]) -> int | None:
        """Return the offset of the first letter that is open or whose record is still in its topic; None without one.

        `first_offsets` has the first offset of each (topic, partition) whose records may be deleted only where a dead
        letter proves them.
        """
        needed = [self._one("SELECT min(first) FROM letter WHERE last > settled")]
        for (topic, partition), start in first_offsets.items():
            of_one = 'SELECT min(first) FROM letter WHERE topic = ? AND partition = ? AND "offset" >= ?'
            needed.append(self._one(of_one, topic, partition, start))
        return min((each for each in needed if each is not None), default=None)

    def first_decided(self) -> int | None:
        """Return the journal's offset of the first decision on a letter that is still stored; None without one."""
        return self._one("SELECT min(decided) FROM letter WHERE last IS NOT NULL")

    def close(self) -> None:
        """Delete the temporary file."""
        self._rows.close()

    def _add(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        self._rows.execute("BEGIN")
        try:
            self._rows.executemany(statement, rows)
        finally:
            self._rows.execute("COMMIT")  # after an error the part that arrived: the range is added again

    def _one(self, query: str, *arguments: object) -> int | None:
        found: int | None = self._rows.execute(query, arguments).fetchone()[0]
        return found


def _refused(refusal: Refusal) -> tuple[object, ...]:
    identity = refusal.topic, refusal.partition, refusal.offset, refusal.timestamp
    return *identity, refusal.error, refusal.letter, refusal.letter


def _settles(decision: Decision) -> int:
    if not decision.verdict.closes:
        return NOT_SETTLED
    return FOR_GOOD if decision.verdict is Verdict.DISCARDED else decision.through
