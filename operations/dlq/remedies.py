"""The runbook's entry and action for a dead letter, found by the anchor that its error carries."""

import re
from dataclasses import dataclass

from messaging.dead_letters import DeadLetter

UNKNOWN = "record-not-understood"  # the entry for an error that names no other one


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """An entry of docs/runbook.md, by its anchor, and its action in one sentence, which is there word for word."""

    entry: str
    action: str

    @property
    def link(self) -> str:
        """The entry's place in the runbook."""
        return f"docs/runbook.md#{self.entry}"


_TAKE_RIGHT_AWAY = "Find who else writes to the topic and take the right away, then discard the dead letter."
_ACTIONS = {
    "toast-placeholder": (
        "`headrace connectors apply` sets FULL; touch the row at the source, then discard the dead letter."
    ),
    "value-cut": "Shorten the value at the source, then discard the dead letter.",
    "schema-unknown": "Give the registry its schemas back (restore its store), then redrive.",
    "foreign-record": _TAKE_RIGHT_AWAY,
    "epoch-unknown": _TAKE_RIGHT_AWAY,
    "epoch-missing": "`headrace connectors apply`, touch the row at the source, then discard the dead letter.",
    "value-refused": "Drop the constraint or widen the column in reporting, then redrive.",
    "catalog-entry-refused": "Enter the correction as a new entry of price_history, then discard the dead letter.",
    UNKNOWN: "Bring the workers to the version that knows the column or the value, then redrive.",
}

# Dead letters that were stored before errors carried an anchor have only their text. The first phrase found decides.
_PHRASES_BEFORE_ANCHORS = (
    ("TOASTed", "toast-placeholder"),
    ("capture has cut it", "value-cut"),
    ("is unknown to the registry", "schema-unknown"),
    ("Confluent's wire format", "foreign-record"),
    ("malformed Avro", "foreign-record"),
    ("not an Avro schema", "foreign-record"),
    ("a record's schema", "foreign-record"),
    ("key: expected", "foreign-record"),
    ("not a record of", "foreign-record"),
    ("reporting knows no epoch", "epoch-unknown"),
    ("headrace-epoch", "epoch-missing"),
    ("append-only", "catalog-entry-refused"),
)
_ANCHOR = re.compile(r"docs/runbook\.md#([a-z-]+)")


def remedy(letter: DeadLetter) -> Remedy:
    """Return the remedy for a dead letter: by its anchor, or for an older letter by its type and text."""
    entry = letter.entry if letter.entry in _ACTIONS else _entry_before_anchors(letter.error, letter.message)
    return Remedy(entry=entry, action=_ACTIONS[entry])


def remedies() -> list[Remedy]:
    """Return every remedy."""
    return [Remedy(entry=entry, action=action) for entry, action in _ACTIONS.items()]


def _entry_before_anchors(error: str, message: str) -> str:
    if error == "Poison":
        return "value-refused"
    named = _ANCHOR.search(message)
    if named and named[1] in _ACTIONS:
        return named[1]
    return next((entry for phrase, entry in _PHRASES_BEFORE_ANCHORS if phrase in message), UNKNOWN)
