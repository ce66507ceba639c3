"""The items that retention reports: a part of a store that is expired, and its outcome."""

from dataclasses import dataclass
from enum import StrEnum


class RetentionOutcome(StrEnum):
    """The outcome of an item. KEPT: it is expired, but could not be deleted for the reason in `detail`."""

    GOES = "would go"
    GONE = "gone"
    KEPT = "KEPT"
    MADE = "made"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionItem:
    """A part of a store (`what`) with `count` expired rows, records or partitions, and the reason (`why`).

    `detail` explains an outcome of KEPT; else it is empty.
    """

    store: str
    what: str
    count: int
    why: str
    outcome: RetentionOutcome
    detail: str = ""
