"""Declare every table that Headrace carries, once.

Include lists, topics, decoding, staging, upsert SQL, verification and retention derive from these entries. A table of
your own is two migrations and one entry here (docs/your-tables.md). No engine code depends on a table's name.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from schemas import generations
from schemas.types import Date, Integer, Json, Numeric, Text, Timestamp, Type, Uuid


class Source(StrEnum):
    """The place where a table is captured. It decides how records are decoded."""

    POSTGRES = "postgres"
    MONGODB = "mongodb"
    OUTBOX = "outbox"


class Mode(StrEnum):
    """STATE: the newest row of a key counts. EVENT: immutable rows, inserted if absent."""

    STATE = "state"
    EVENT = "event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        nullable: Whether the source may hold null. A deleted row's columns may always be null.
        day_of: For a date that the source does not store: the column of instants whose day in UTC it is.
    """

    name: str
    type: Type
    nullable: bool = False
    day_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table: `source.schema.name` is captured to `captured_topics` and lands in reporting from `landed_topics`.

    Attributes:
        enrichment: The columns that streams/ adds. An enriched table lands from Headrace's own topic.
        reported: False for a table that only enrichment reads.
        soft_deleted: The column that, when set, hides a row from the readers' views.
        ages_by: The date column by which rows age.
        retention: The part of the retention policy for the table. Tables of one part are deleted together, a month at
            a time.
        subjects: The columns that may hold a person's id. `column.field` is a field of a JSON column.
        subject_group: The column whose rows all belong to one person, such as an order.
        generation: The generation of reporting that the topic of an enriched table feeds.
    """

    name: str
    source: Source
    schema: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    mode: Mode = Mode.STATE
    partitions: int = 4
    enrichment: tuple[Column, ...] = ()
    reported: bool = True
    soft_deleted: str | None = None
    aggregates: tuple[str, ...] = ()
    source_name: str | None = None
    ages_by: str | None = None
    retention: str | None = None
    subjects: tuple[str, ...] = ()
    subject_group: str | None = None
    generation: int = generations.FIRST

    @property
    def relation(self) -> str:
        """The name of the table or collection in the source, within its schema or database."""
        return self.source_name or self.name

    @property
    def captured_topics(self) -> tuple[str, ...]:
        """The topics that Debezium writes this table's records to."""
        if self.source is Source.OUTBOX:
            return tuple(f"shop.events.{aggregate}" for aggregate in self.aggregates)
        return (f"shop.{self.schema}.{self.name}",)

    @property
    def landed_topics(self) -> tuple[str, ...]:
        """The topics that the reporting sink reads this table from."""
        if not self.reported:
            return ()
        if self.enrichment:
            return (generations.topic(f"reporting.{self.name}", self.generation),)
        return self.captured_topics

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """The columns in reporting: the source's, then the enrichment's."""
        return self.columns + self.enrichment

    def column(self, name: str) -> Column:
        """Return the column of that name.

        Raises:
            KeyError: There is none.
        """
        for column in self.all_columns:
            if column.name == name:
                return column
        raise KeyError(name)


def _column(name: str, type_: Type) -> Column:
    return Column(name=name, type=type_)


def _optional(name: str, type_: Type) -> Column:
    return Column(name=name, type=type_, nullable=True)


MONEY = Numeric(19, 4)
CURRENCY = Text(3)
ID = Text(64)
AUDIT = (
    _column("created_at", Timestamp()),
    _column("created_by", ID),
    _column("updated_at", Timestamp()),
    _column("updated_by", ID),
    _optional("deleted_at", Timestamp()),
    _optional("deleted_by", ID),
)

ORDERS = Table(
    name="orders",
    source=Source.POSTGRES,
    schema="sales",
    key=("tenant_id", "order_month", "order_id"),
    columns=(
        _column("tenant_id", ID),
        _column("order_month", Date()),
        _column("order_id", ID),
        _column("customer_id", ID),
        _column("status", Text(32)),
        _column("total", MONEY),
        _column("currency", CURRENCY),
        _column("placed_at", Timestamp()),
        _optional("approved_at", Timestamp()),
        _optional("shipped_at", Timestamp()),
        _optional("delivered_at", Timestamp()),
        _optional("cancelled_at", Timestamp()),
        *AUDIT,
    ),
    soft_deleted="deleted_at",
    ages_by="order_month",
    retention="orders",
    subjects=("customer_id",),
    subject_group="order_id",
)

ORDER_LINES = Table(
    name="order_lines",
    source=Source.POSTGRES,
    schema="sales",
    key=("tenant_id", "order_month", "order_id", "line_no"),
    columns=(
        _column("tenant_id", ID),
        _column("order_month", Date()),
        _column("order_id", ID),
        _column("line_no", Integer()),
        _column("sku", ID),
        _column("quantity", Integer()),
        _column("unit_price", MONEY),
        _column("freight", MONEY),
        _column("currency", CURRENCY),
        _column("priced_at", Timestamp()),
        *AUDIT,
    ),
    enrichment=(
        _optional("product_name", Text(256)),
        _optional("category", Text(128)),
        _optional("list_price", MONEY),
        _column("catalog_version", Integer(big=True)),
        _column("enrichment_status", Text(16)),
    ),
    soft_deleted="deleted_at",
    ages_by="order_month",
    retention="orders",
    subject_group="order_id",
)

PAYMENTS = Table(
    name="payments",
    source=Source.POSTGRES,
    schema="sales",
    key=("tenant_id", "payment_id"),
    columns=(
        _column("tenant_id", ID),
        _column("payment_id", Text(80)),
        _column("order_month", Date()),
        _column("order_id", ID),
        _column("provider", Text(32)),
        _column("provider_status", Text(32)),
        _column("method", Text(32)),
        _optional("method_token", ID),
        _column("installments", Integer()),
        _column("amount", MONEY),
        _column("currency", CURRENCY),
        _column("paid_at", Timestamp()),
        *AUDIT,
    ),
    soft_deleted="deleted_at",
    ages_by="order_month",
    retention="orders",
    subject_group="order_id",
)

EVENTS = Table(
    name="events",
    source=Source.OUTBOX,
    schema="sales",
    mode=Mode.EVENT,
    key=("tenant_id", "event_day", "event_id"),
    columns=(
        _column("tenant_id", ID),
        Column(name="event_day", type=Date(), day_of="occurred_at"),
        _column("event_id", Uuid()),
        _column("aggregate_type", Text(32)),
        _column("aggregate_id", Text(128)),
        _column("event_type", Text(64)),
        _column("schema_version", Integer()),
        _column("payload", Json()),
        _column("occurred_at", Timestamp()),
        _optional("traceparent", Text(64)),
    ),
    aggregates=("order", "payment"),
    source_name="outbox_events",
    ages_by="event_day",
    retention="events",
    subjects=("aggregate_id", "payload.customer_id"),
    subject_group="payload.order_id",
)

PRODUCTS = Table(
    name="products",
    source=Source.MONGODB,
    schema="catalog",
    key=("tenant_id", "sku"),
    columns=(
        _column("tenant_id", ID),
        _column("sku", ID),
        _column("name", Text(256)),
        _column("category", Text(128)),
        _column("price", MONEY),
        _column("currency", CURRENCY),
        _column("stock", Integer()),
        _column("updated_at", Timestamp()),
    ),
    partitions=1,
)

# One partition: the catalog's heartbeats are in this topic, and "everything older has been read" holds only
# where entries and heartbeats are in one order (docs/decisions/0002-catalog-watermark.md).
PRICE_HISTORY = Table(
    name="price_history",
    source=Source.MONGODB,
    schema="catalog",
    key=("tenant_id", "sku", "valid_from"),
    columns=(
        _column("tenant_id", ID),
        _column("sku", ID),
        _column("valid_from", Timestamp()),
        _column("name", Text(256)),
        _column("category", Text(128)),
        _column("price", MONEY),
        _column("currency", CURRENCY),
    ),
    partitions=1,
    reported=False,
)

TABLES: tuple[Table, ...] = (ORDERS, ORDER_LINES, PAYMENTS, EVENTS, PRODUCTS, PRICE_HISTORY)


def reported(tables: Iterable[Table] = TABLES) -> tuple[Table, ...]:
    """Return the tables that land in reporting."""
    return tuple(table for table in tables if table.reported)


def of_generation(generation: int, tables: Iterable[Table] = TABLES) -> tuple[Table, ...]:
    """Return the tables as one generation reads them: captured topics are shared, enriched ones are its own."""
    return tuple(replace(table, generation=generation) for table in tables)
