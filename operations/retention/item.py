"""One line of a retention plan, or of what became of it."""

from dataclasses import dataclass
from enum import StrEnum


class RetentionOutcome(StrEnum):
    """What becomes of an item. KEPT: it is old enough, but something stands in the way, which `detail` names."""

    GOES = "would go"
    GONE = "gone"
    KEPT = "KEPT"
    MADE = "made"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionItem:
    """`count` things of a store that are too old, and why. `detail` says more: what is missing, what was left."""

    store: str
    what: str
    count: int
    why: str
    outcome: RetentionOutcome
    detail: str = ""
