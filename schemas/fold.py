"""Reduce a batch to one change for each key, so that the sink touches each row once."""

from collections.abc import Iterable
from dataclasses import replace

from schemas.change import Change, Key


def fold(changes: Iterable[Change]) -> list[dict[Key, Change]]:
    """Return rounds with at most one change for each key.

    Landing the rounds in order gives the same rows as landing each change. All changes are of one table. There is one
    round, except where a streamed change follows a snapshot read of its key: if it is a repeat, which only the landed
    row shows, the read must stay, so the change waits for the next round. Of an immutable event the first one stays:
    events carry no log position, so a repeat never wins.
    """
    rounds: list[dict[Key, Change]] = [{}]
    later: dict[Key, int] = {}  # the round of a key's newest change, where it isn't the first
    for change in changes:
        place = later.get(change.key, 0) if later else 0
        newest = rounds[place]
        earlier = newest.get(change.key)
        if earlier is None:
            newest[change.key] = change
        elif earlier.position.read and not change.position.read:
            later[change.key] = place + 1
            if place + 1 == len(rounds):
                rounds.append({})
            rounds[place + 1][change.key] = change
        elif change.position.wins_over(earlier.position):
            position = change.position.replacing(earlier.position)
            newest[change.key] = change if position is change.position else replace(change, position=position)
    return rounds
