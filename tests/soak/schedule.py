"""The schedule of a soak: which fault happens when, derived from the seed alone. Opens nothing.

The faults are the cards of a deck: each deck is shuffled and dealt to its end before the next one, so five minutes see
every fault about once, and an hour sees each of them about twelve times in another order.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

WORKERS = ("enrich", "enrich-2", "report", "report-2", "archive", "watch")
SERVERS = ("postgres", "kafka", "connect", "registry", "catalog")
LINKS = ("kafka", "reporting")

FIRST_S = 5.0
GAP_S = (4.0, 14.0)
BRIEF_S, LONG_S = (1.0, 12.0), (50.0, 65.0)  # a long pause outlasts a consumer's session: another worker takes over
QUIET_S = 20.0  # before the end nothing new begins


class Kind(StrEnum):
    """A fault, or a write that is hard to replicate."""

    KILL = "kill"  # SIGKILL of a worker; it is started again after a second
    PAUSE = "pause"  # SIGSTOP, and SIGCONT after `seconds`
    RESTART = "restart"  # SIGKILL of a server, and a start after `seconds`; the catalog's stand-in gets SIGTERM
    FULL_DISK = "full disk"  # for `seconds` the worker can't write beyond a few KB of a file
    LATENCY = "latency"  # the rest is done to a link, for `seconds`
    THROTTLE = "throttle"
    CUT = "cut"
    RESET = "reset"
    STALL = "stall"  # connections stay open and nothing passes
    BULK = "bulk"  # `amount` rows in one transaction, then all of them updated in another
    SAVEPOINT = "savepoint"  # the same, half of it rolled back
    DDL = "ddl"  # a nullable column is added to a captured table, or dropped again
    EVENT = "large event"  # an event with a payload of `amount` bytes


NETWORK = (Kind.LATENCY, Kind.THROTTLE, Kind.CUT, Kind.RESET, Kind.STALL)
TABLES = ("orders", "order_lines", "payments")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One fault: `at` seconds after the start, on `target`, lasting `seconds`."""

    at: float
    kind: Kind
    target: str
    seconds: float = 0.0
    amount: int = 0

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.kind} {self.target}{lasting}{f' ({self.amount:,})' if self.amount else ''}"


def schedule(seed: int, seconds: float) -> list[Action]:
    """Return the actions of a run of `seconds`, in order of time."""
    rng = random.Random(seed)  # noqa: S311  # to be repeated, not a secret
    actions: list[Action] = []
    at = FIRST_S
    for card in _cards(rng):
        if at > seconds - QUIET_S:
            return actions
        actions.append(_dealt(card, at, rng))
        at += rng.uniform(*GAP_S)
    raise AssertionError("the decks never end")


DECK: tuple[tuple[Kind, str], ...] = (
    *((Kind.KILL, worker) for worker in WORKERS),
    *((Kind.PAUSE, target) for target in (*WORKERS, "connect", "kafka")),
    *((Kind.RESTART, server) for server in SERVERS),
    (Kind.FULL_DISK, "archive"),
    *((kind, link) for kind in NETWORK for link in LINKS),
    (Kind.BULK, "orders"),
    (Kind.SAVEPOINT, "orders"),
    (Kind.DDL, "sales"),
    (Kind.EVENT, "outbox_events"),
)


def _cards(rng: random.Random) -> Iterator[tuple[Kind, str]]:
    while True:
        yield from rng.sample(DECK, len(DECK))


def _dealt(card: tuple[Kind, str], at: float, rng: random.Random) -> Action:
    kind, target = card
    match kind:
        case Kind.KILL:
            return Action(at=at, kind=kind, target=target)
        case Kind.PAUSE:
            long = target in WORKERS and rng.random() < 0.25
            return Action(at=at, kind=kind, target=target, seconds=rng.uniform(*(LONG_S if long else BRIEF_S)))
        case Kind.BULK | Kind.SAVEPOINT:
            return Action(at=at, kind=kind, target=target, amount=rng.randrange(2_000, 20_001))
        case Kind.DDL:
            return Action(at=at, kind=kind, target=f"{target}.{rng.choice(TABLES)}")
        case Kind.EVENT:
            return Action(at=at, kind=kind, target=target, amount=rng.randrange(50_000, 200_001))
    return Action(at=at, kind=kind, target=target, seconds=rng.uniform(*BRIEF_S))
