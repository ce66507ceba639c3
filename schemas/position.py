"""Which of two changes of one key is newer. A change's LSN alone cannot tell (docs/decisions/0001-position.md)."""

from typing import NamedTuple


class Position(NamedTuple):
    """Where a change stands in the one history of its key.

    epoch    raised by the operator when the source's history restarts.
    offset   of the captured record in its topic. Debezium streams in commit order and a key keeps its partition,
             so offsets order all changes of a key, snapshots included.
    version  orders what enrichment emits for one captured record (`enrichment_version`); 0 elsewhere.
    log      where Postgres' log holds the change: (end of the previous commit, LSN); (0, 0) where that is unknown.
    read     ordered by its offset alone, as its place in the log is unknown: a snapshot read, a change of the first
             transaction behind a snapshot, a change of MongoDB's.
    """

    epoch: int
    offset: int
    version: int = 0
    log: tuple[int, int] = (0, 0)
    read: bool = False

    def wins_over(self, landed: "Position") -> bool:
        """Whether a change at this position replaces a row landed at `landed`; the sinks' SQL says the same.

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
        """This position, to be stored over `landed`: a snapshot read keeps the log position of what it replaces,
        so that repeats from before the snapshot are still known as such."""
        if self.epoch == landed.epoch and landed.log > self.log:
            return self._replace(log=landed.log)
        return self


def enrichment_version(catalog_version: int, *, decided: bool) -> int:
    """The `version` of an enriched record: by the catalog entry chosen (its valid_from in µs, 0 for none), and of
    two with the same entry the decided one over the provisional one."""
    return catalog_version * 2 + decided
