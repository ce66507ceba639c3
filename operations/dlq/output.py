"""Print the results of the `headrace dlq` commands."""

from collections.abc import Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from messaging.registry import Registry
from operations.dlq import decoded
from operations.dlq.decisions import Verdict
from operations.dlq.letters import Group, Letter, seen_at
from operations.dlq.redrive import RedriveOutcome
from operations.dlq.remedies import remedy

MOST = 20  # letters of a group that `show` prints in full


def print_groups(found: Sequence[Group], out: Console, *, json: bool) -> None:
    """Print the groups, the largest first."""
    if json:
        out.print_json(orjson.dumps(found).decode())
        return
    if not found:
        out.print("No open dead letters.")
        return
    grid = Grid("group", "open", "records", "topic", "error", "last seen (UTC)", "the newest", box=None, pad_edge=False)
    for each in found:
        seen = f"{each.last_seen:%Y-%m-%d %H:%M:%S}"
        cells = (each.name, f"{each.open:,}", f"{each.records:,}", each.topic, each.reason, seen, each.newest)
        grid.add_row(*map(Text, cells))
    out.print(grid)


def print_letters(found: Sequence[Letter], registry: Registry, out: Console, *, json: bool) -> None:
    """Print each letter with its record and its remedy."""
    described = [describe_letter(letter, registry) for letter in found[:MOST]]
    if json:
        out.print_json(decoded.as_json(described).decode())
        return
    for letter in described:
        out.rule(Text(letter["origin"]), align="left")
        for name in ("group", "error", "message", "workers", "first_seen", "last_seen", "key", "headers", "decision"):
            if letter[name] not in (None, {}):
                text = letter[name] if isinstance(letter[name], str) else decoded.compact(letter[name])
                out.print(f"{name.replace('_', ' '):<11}{text}", markup=False, soft_wrap=True)
        out.print(f"{'value':<11}{decoded.bounded(decoded.as_json(letter['value']).decode())}", markup=False)
        out.print(f"{'to do':<11}{letter['remedy']}\n{'':<11}{letter['runbook']}", markup=False, soft_wrap=True)
    if len(found) > len(described):
        out.print(f"… and {len(found) - len(described):,} more; narrow the selection, or name one by its origin")


def describe_letter(letter: Letter, registry: Registry) -> dict[str, Any]:
    """Return a letter, decoded as far as possible, with its remedy."""
    record, to_do = letter.record, remedy(letter.refusals[-1])
    return {
        "origin": letter.origin,
        "group": letter.group,
        "error": letter.error,
        "message": letter.message,
        "workers": ", ".join(sorted({refusal.worker for refusal in letter.refusals})),
        "first_seen": f"{seen_at(letter.refusals[0]):%Y-%m-%d %H:%M:%S} UTC",
        "last_seen": f"{seen_at(letter.refusals[-1]):%Y-%m-%d %H:%M:%S} UTC",
        "key": decoded.plain(record.key),
        "headers": {name: decoded.plain(value) for name, value in record.headers},
        "value": decoded.value(record.value, registry),
        "decision": None if letter.decision is None else _decision_text(letter),
        "remedy": to_do.action,
        "runbook": to_do.link,
    }


def _decision_text(letter: Letter) -> str:
    decision = letter.decision
    assert decision is not None  # noqa: S101  # only asked for where there is one
    reopened = "; refused again since" if decision.verdict.closes and letter.open else ""
    detail = f": {decision.detail}" if decision.detail else ""
    return f"{decision.verdict} on {decision.at:%Y-%m-%d %H:%M:%S} UTC by {decision.by}{detail}{reopened}"


def print_outcomes(outcomes: Sequence[tuple[Letter, RedriveOutcome]], out: Console, *, json: bool) -> None:
    """Print the number of letters by outcome, and each letter that is still open."""
    counts = {verdict: sum(outcome.verdict is verdict for _, outcome in outcomes) for verdict in Verdict}
    if json:
        letters = [
            {"origin": letter.origin, "verdict": outcome.verdict, "detail": outcome.detail}
            for letter, outcome in outcomes
        ]
        summary = {verdict.replace(" ", "_"): count for verdict, count in counts.items()} | {"letters": letters}
        out.print_json(orjson.dumps(summary).decode())
        return
    for letter, outcome in outcomes:
        if not outcome.verdict.closes:
            out.print(f"{outcome.verdict}: {letter.origin}: {outcome.detail}", markup=False, soft_wrap=True)
    out.print(", ".join(f"{count:,} {verdict}" for verdict, count in counts.items() if count) or "Nothing to do.")
