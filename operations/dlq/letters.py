"""Dead letters as an operator sees them: one a record, grouped by what went wrong, selected. Opens nothing."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

import orjson

from messaging.dead_letters import DeadLetter, Record
from operations.dlq.decisions import Decision, Identity, Verdict, identity

# What differs between two refusals of one kind: texts in single quotes, bytes, numbers. Names stand in double quotes.
_VARIABLE = re.compile(r"(?<!\w)b?'(?:[^'\\]|\\.)*'|\d+(?:\.\d+)*")
_REASON_LENGTH = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One record that was refused: by whom and when (`refusals`, oldest first, at least one), and what was decided
    last.

    Capture's event topics have two readers, so one record may be refused by both.
    """

    refusals: Sequence[DeadLetter]
    decision: Decision | None

    @property
    def record(self) -> Record:
        """The record as it came."""
        return self.refusals[-1].record

    @property
    def origin(self) -> str:
        """Where the record stood: `topic[partition]@offset`."""
        return f"{self.record.topic}[{self.record.partition}]@{self.record.offset}"

    @property
    def error(self) -> str:
        """The newest error's type."""
        return self.refusals[-1].error

    @property
    def message(self) -> str:
        """The newest error's text."""
        return self.refusals[-1].message

    @property
    def unsettled(self) -> Sequence[DeadLetter]:
        """The refusals that no decision covers. A rebuild may refuse again what was redriven; discarded is for good."""
        if self.decision is None or not self.decision.verdict.closes:
            return self.refusals
        if self.decision.verdict is Verdict.DISCARDED:
            return ()
        return [refusal for refusal in self.refusals if refusal.offset > self.decision.through]

    @property
    def open(self) -> bool:
        """Whether something is left to be done."""
        return bool(self.unsettled)

    @property
    def group(self) -> str:
        """The name of its group: eight hexadecimal digits that follow from topic, error and reason."""
        kind = "\x1f".join((self.record.topic, self.error, reason(self.message)))
        return hashlib.sha256(kind.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Letters of one topic that were refused for one reason. Times are those of the refusals, UTC."""

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
    """Which letters. None is all of them; `since` and `until` (excluded) are when a letter was last refused."""

    target: str | None = None
    error: str | None = None
    key: str | None = None
    topic: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    settled: bool = False

    def matches(self, letter: Letter) -> bool:
        """Whether it is selected."""
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
    """One letter for each record that was refused, in the order in which they were refused first."""
    refusals: dict[Identity, list[DeadLetter]] = {}
    for each in stored:
        refusals.setdefault(identity(each.record), []).append(each)
    last = {decision.identity: decision for decision in decisions}
    return [Letter(refusals=of_one, decision=last.get(who)) for who, of_one in refusals.items()]


def groups(found: Iterable[Letter]) -> list[Group]:
    """Letters by topic, error and reason, the largest group first."""

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
    """What messages of one kind have in common."""
    return _VARIABLE.sub("…", message.partition("; DETAIL")[0].partition("\n")[0])[:_REASON_LENGTH]


def seen_at(refusal: DeadLetter) -> datetime:
    """When a record was refused (UTC)."""
    return datetime.fromtimestamp(refusal.seen / 1000, UTC)


def has_key(key: bytes | None, wanted: str) -> bool:
    """Whether a record's key is `wanted`, or holds it as `name=value`."""
    text = (key or b"").decode(errors="replace")
    if text == wanted:
        return True
    name, _, value = wanted.partition("=")
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return isinstance(fields, dict) and name in fields and str(fields[name]) == value
