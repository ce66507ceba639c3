"""Report the result of a soak. Opens nothing."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

MB = 1 << 20
SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A run's figures. `delays` are seconds from commit to visible, sorted; `memory` is first, last, highest bytes."""

    seed: int
    commit: str
    minutes: float
    commits: int
    repeats: int
    retries: int
    dead_letters: int
    rows: int
    seen: int
    delays: Sequence[float]
    wrong: Sequence[str]
    missing: Sequence[str]
    verify: str
    verified: bool
    done: Counter[str]
    failed: Sequence[str]
    exits: Counter[tuple[str, int]]
    restarted: int
    memory: Mapping[str, tuple[int, int, int]]

    @property
    def held(self) -> bool:
        """Return whether every invariant held and every action could be carried out.

        False for a run without a visible marker, a commit or an action: it has proven nothing."""
        watched = self.delays and self.commits and self.done
        return bool(watched) and self.verified and not (self.wrong or self.missing or self.dead_letters or self.failed)


def untold(findings: Sequence[str], told: set[str]) -> list[str]:
    """Return the findings that are not in `told`, in their order, and add them to it."""
    new = [each for each in findings if each not in told]
    told.update(new)
    return new


def lines(outcome: Outcome) -> Iterator[str]:
    """Return the report, a line at a time."""
    yield f"seed {outcome.seed}, commit {outcome.commit}, {outcome.minutes:g} minutes"
    yield f"commits        {outcome.commits:,} in the source, {outcome.seen:,} in reporting, of {outcome.rows:,} rows"
    yield f"visible after  {_delays(outcome.delays)}"
    yield f"repeats        {outcome.repeats:,} rows skipped by the guard; {outcome.retries:,} batches retried"
    yield f"dead letters   {outcome.dead_letters:,}"
    yield f"gone back or promised too early  {len(outcome.wrong):,}"
    yield from (f"    {each}" for each in outcome.wrong[:SHOWN])
    yield f"missing        {len(outcome.missing):,}"
    yield from (f"    {each}" for each in outcome.missing[:SHOWN])
    yield f"verify         {'equal' if outcome.verified else 'not equal'}"
    yield from (f"    {each}" for each in outcome.verify.splitlines())
    yield f"actions        {sum(outcome.done.values()):,}"
    yield from (f"    {count:4} x {name}" for name, count in sorted(outcome.done.items()))
    yield from (f"    could not be done: {each}" for each in outcome.failed)
    yield "ended workers  " + (
        ", ".join(f"{name} {code} x {n}" for (name, code), n in sorted(outcome.exits.items())) or "none"
    )
    yield f"connectors     {outcome.restarted} restarted by hand"
    yield "memory         first, last and highest, MB"
    yield from (
        f"    {name:9} {first / MB:6.0f} {last / MB:6.0f} {most / MB:6.0f}"
        for name, (first, last, most) in sorted(outcome.memory.items())
    )
    yield "all invariants held" if outcome.held else "NOT all invariants held"


def _delays(delays: Sequence[float]) -> str:
    if not delays:
        return "no marker was seen"
    at = [delays[min(len(delays) - 1, int(len(delays) * share))] for share in (0.5, 0.99)]
    return f"{at[0]:.2f} s (median), {at[1]:.2f} s (99 %), {delays[-1]:.2f} s (most), of {len(delays):,} markers"
