"""Group and select dead letters for the operator: one letter for each record, grouped by topic and error. No I/O."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

import orjson

from messaging.dead_letters import DeadLetter, Record
from operations.dlq.decisions import Decision, Identity, Verdict, identity

# The parts that differ between errors of one kind: texts in single quotes, bytes, numbers. Names are in double quotes.
_VARIABLE = re.compile(r"(?<!\w)b?'(?:[^'\\]|\\.)*'|\d+(?:\.\d+)*")
_REASON_LENGTH = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One rejected record: its refusals (at least one, oldest first), and the last decision on it, None without one.

    Two workers read capture's event topics, so both may refuse the same record.
    """

    refusals: Sequence[DeadLetter]
    decision: Decision | None

    @property
    def record(self) -> Record:
        """The record as it was captured."""
        return self.refusals[-1].record

    @property
    def origin(self) -> str:
        """The record's place: `topic[partition]@offset`."""
        return f"{self.record.topic}[{self.record.partition}]@{self.record.offset}"

    @property
    def error(self) -> str:
        """The type of the newest error."""
        return self.refusals[-1].error

    @property
    def message(self) -> str:
        """The text of the newest error."""
        return self.refusals[-1].message

    @property
    def unsettled(self) -> Sequence[DeadLetter]:
        """The refusals that no decision covers. A rebuild may refuse a redriven record again; a discard is final."""
        if self.decision is None or not self.decision.verdict.closes:
            return self.refusals
        if self.decision.verdict is Verdict.DISCARDED:
            return ()
        return [refusal for refusal in self.refusals if refusal.offset > self.decision.through]

    @property
    def open(self) -> bool:
        """True where a refusal is not covered by a decision."""
        return bool(self.unsettled)

    @property
    def group(self) -> str:
        """The name of its group: eight hexadecimal digits, computed from topic, error type and reason."""
        kind = "\x1f".join((self.record.topic, self.error, reason(self.message)))
        return hashlib.sha256(kind.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Letters of one topic with the same error type and reason. Times are those of the refusals, in UTC."""

    name: str
    topic: str
    error: str
    reason: str
    workers: Sequence[str]
    records: int
    open: int
    first_seen: datetime
    last_seen: datetime
    newest: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterSelection:
    """A selection of letters; None selects all.

    `since` (included) and `until` (excluded) bound the time of the last refusal. Closed letters are selected only with
    `settled`.
    """

    target: str | None = None
    error: str | None = None
    key: str | None = None
    topic: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    settled: bool = False

    def matches(self, letter: Letter) -> bool:
        """Tell whether a letter is selected."""
        return (
            (letter.open or self.settled)
            and self.target in (None, letter.group, letter.origin)
            and (self.error is None or self.error.lower() in f"{letter.error}: {letter.message}".lower())
            and (self.key is None or has_key(letter.record.key, self.key))
            and self.topic in (None, letter.record.topic)
            and (self.since is None or self.since <= seen_at(letter.refusals[-1]))
            and (self.until is None or seen_at(letter.refusals[-1]) < self.until)
        )


def letters(stored: Iterable[DeadLetter], decisions: Iterable[Decision]) -> list[Letter]:
    """Return one letter for each refused record, in the order of their first refusals."""
    refusals: dict[Identity, list[DeadLetter]] = {}
    for each in stored:
        refusals.setdefault(identity(each.record), []).append(each)
    last = {decision.identity: decision for decision in decisions}
    return [Letter(refusals=same_record, decision=last.get(id_)) for id_, same_record in refusals.items()]


def groups(found: Iterable[Letter]) -> list[Group]:
    """Group letters by topic, error type and reason, the largest group first."""

    def name(letter: Letter) -> str:
        return letter.group

    by_name = groupby(sorted(found, key=name), key=name)
    return sorted((_group(name, list(each)) for name, each in by_name), key=lambda group: (-group.records, group.name))


def _group(name: str, found: Sequence[Letter]) -> Group:
    newest = max(found, key=lambda letter: letter.refusals[-1].offset)
    times = [seen_at(refusal) for letter in found for refusal in letter.refusals]
    return Group(
        name=name,
        topic=newest.record.topic,
        error=newest.error,
        reason=reason(newest.message),
        workers=sorted({refusal.worker for letter in found for refusal in letter.refusals}),
        records=len(found),
        open=sum(letter.open for letter in found),
        first_seen=min(times),
        last_seen=max(times),
        newest=newest.origin,
        message=newest.message,
    )


def reason(message: str) -> str:
    """Return the part of an error's text that is the same for all errors of its kind."""
    return _VARIABLE.sub("…", message.partition("; DETAIL")[0].partition("\n")[0])[:_REASON_LENGTH]


def seen_at(refusal: DeadLetter) -> datetime:
    """Return when a record was refused (UTC)."""
    return datetime.fromtimestamp(refusal.seen / 1000, UTC)


def has_key(key: bytes | None, wanted: str) -> bool:
    """Tell whether a record's key equals `wanted`, or is a JSON object that holds it as `name=value`."""
    text = (key or b"").decode(errors="replace")
    if text == wanted:
        return True
    name, _, value = wanted.partition("=")
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return isinstance(fields, dict) and name in fields and str(fields[name]) == value
