"""Select the enriched table and its topics. No other module of this package names a table."""

from dataclasses import dataclass
from typing import Self

from schemas import generations, tables, topics
from schemas.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """One enrichment: `lines` (captured records of `table`) and `catalog` (those of `catalog_table`) in, `enriched`,
    `pending` and `dead_letters` out. Tests give topics of their own."""

    bootstrap: str
    registry_url: str
    table: Table = tables.ORDER_LINES
    catalog_table: Table = tables.PRICE_HISTORY
    lines: str = tables.ORDER_LINES.captured_topics[0]
    catalog: str = tables.PRICE_HISTORY.captured_topics[0]
    enriched: str = tables.ORDER_LINES.landed_topics[0]
    pending: str = topics.PENDING
    dead_letters: str = topics.DEAD_LETTERS

    @classmethod
    def of_generation(cls, generation: int, bootstrap: str, registry_url: str) -> Self:
        """Return the wiring of a generation of reporting: it reads the shared topics, and writes its own."""
        (table,) = tables.of_generation(generation, [tables.ORDER_LINES])
        return cls(
            bootstrap=bootstrap,
            registry_url=registry_url,
            table=table,
            enriched=table.landed_topics[0],
            pending=generations.topic(topics.PENDING, generation),
        )
