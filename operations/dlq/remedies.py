"""What the runbook says about each kind of dead letter."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """An entry of docs/runbook.md, and its action in one sentence, which stands there word for word."""

    entry: str
    action: str

    @property
    def link(self) -> str:
        """Where to read on."""
        return f"docs/runbook.md#{self.entry}"


# The first one whose expression is found in `error: message` applies.
_REMEDIES: tuple[tuple[str, Remedy], ...] = (
    (
        r"TOASTed",
        Remedy(
            entry="toast-placeholder",
            action="`headrace connectors apply` sets FULL; touch the row at the source, then discard the dead letter.",
        ),
    ),
    (
        r"capture has cut it",
        Remedy(
            entry="value-cut",
            action="Shorten the value at the source, then discard the dead letter.",
        ),
    ),
    (
        r"is unknown to the registry",
        Remedy(
            entry="schema-unknown",
            action="Give the registry its schemas back (restore its store), then redrive.",
        ),
    ),
    (
        r"Confluent's wire format|malformed Avro|not an Avro schema|a record's schema|key: expected|not a record of",
        Remedy(
            entry="foreign-record",
            action="Find who else writes to the topic and take the right away, then discard the dead letter.",
        ),
    ),
    (
        r"reporting knows no epoch",
        Remedy(
            entry="epoch-unknown",
            action="Find who else writes to the topic and take the right away, then discard the dead letter.",
        ),
    ),
    (
        r"headrace-epoch",
        Remedy(
            entry="epoch-missing",
            action="`headrace connectors apply`, touch the row at the source, then discard the dead letter.",
        ),
    ),
    (
        r"^Poison",
        Remedy(
            entry="value-refused",
            action="Drop the constraint or widen the column in reporting, then redrive.",
        ),
    ),
    (
        r"append-only",
        Remedy(
            entry="catalog-entry-refused",
            action="Enter the correction as a new entry of price_history, then discard the dead letter.",
        ),
    ),
)
_OTHERWISE = Remedy(
    entry="record-not-understood",
    action="Bring the workers to the version that knows the column or the value, then redrive.",
)


def remedy(error: str, message: str) -> Remedy:
    """The entry for an error."""
    said = f"{error}: {message}"
    return next((each for pattern, each in _REMEDIES if re.search(pattern, said)), _OTHERWISE)


def remedies() -> list[Remedy]:
    """All of them."""
    return [each for _, each in _REMEDIES] + [_OTHERWISE]
