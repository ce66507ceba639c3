"""Decide which of two changes of one key is newer. An LSN alone is not enough (docs/decisions/0001-position.md)."""

from typing import NamedTuple

FIRST_EPOCH = 1  # that of a source whose history never restarted


class Position(NamedTuple):
    """The place of a change in the one history of its key.

    epoch    raised by the operator when the source's history restarts.
    offset   of the captured record in its topic. Debezium streams in commit order and a key keeps its partition,
             so offsets order all changes of a key, snapshots included.
    version  orders what enrichment emits for one captured record (`enrichment_version`); 0 elsewhere.
    log      the place in Postgres' log: (end of the previous commit, LSN); (LSN, 0) in the first transaction
             after a snapshot, for which Debezium knows no previous commit. For MongoDB (cluster time, offset). (0, 0)
             for a read.
    read     a snapshot read: ordered by its offset alone, as it has no place in the log.
    """

    epoch: int
    offset: int
    version: int = 0
    log: tuple[int, int] = (0, 0)
    read: bool = False

    def wins_over(self, landed: "Position") -> bool:
        """Return whether a change at this position replaces a row landed at `landed`. The sinks' SQL does the same.

        Debezium sends the last records again after a crash, at new offsets: a streamed change that is not above
        the landed one in the source's log is such a repeat. An equal one may still bring a later enrichment.
        """
        if self.epoch != landed.epoch:
            return self.epoch > landed.epoch
        if self.offset == landed.offset:
            return self.version > landed.version
        if self.offset < landed.offset:
            return False
        return self.read or (self.log, self.version) > (landed.log, landed.version)

    def replacing(self, landed: "Position") -> "Position":
        """Return this position as it is stored over `landed`.

        A snapshot read keeps the log position of the row that it replaces, so that repeats from before the snapshot are
        still recognized. A streamed change does not: it would carry the position of another change, whose repeat would
        then be skipped.
        """
        if self.read and self.epoch == landed.epoch and landed.log > self.log:
            return self._replace(log=landed.log)
        return self


def enrichment_version(catalog_version: int, *, decided: bool) -> int:
    """Return the `version` of an enriched record.

    It orders by the chosen catalog entry (its valid_from in µs, 0 for none). With the same entry, the decided record is
    above the provisional one.
    """
    return catalog_version * 2 + decided
