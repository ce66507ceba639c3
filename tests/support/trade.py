"""Changes for the contract suite: short to write in a test, complete enough for a real table."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

from schemas.change import Change, Op, Row
from schemas.position import Position
from schemas.tables import EVENTS, ORDER_LINES, ORDERS, PAYMENTS, Table
from sinks.reporting.cutoff import Cutoff
from sinks.reporting.port import Batch, Checkpoint, Landed, Partition, Reporting

MONTH = date(2026, 11, 1)
NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
DAY = NOON.date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One test's own rows: a tenant, a partition, and tables with their own part of the policy.

    The part is separate because a cutoff applies to the whole database."""

    name: str = field(default_factory=lambda: f"t-{uuid4().hex[:12]}")
    topic_id: str = "id-1"

    @property
    def partition(self) -> Partition:
        return Partition(f"topic.{self.name}", 0)

    def table(self, table: Table) -> Table:
        return replace(table, retention=self.name)

    def cutoff(self, before: date, *held: str) -> Cutoff:
        return Cutoff(self.name, before, frozenset(held))

    def order(self, order_id: str, offset: int, status: str = "placed", **changed: object) -> Change:
        """Return a change of an order. `at` overrides parts of its position; `op=Op.DELETE` deletes it."""
        at = {"log": (offset * 10, offset * 10)} | changed.pop("at", {})  # type: ignore[operator]
        op = changed.pop("op", Op.READ if at.get("read") else Op.UPDATE)
        values = {
            "tenant_id": self.name,
            "order_month": MONTH,
            "order_id": order_id,
            "customer_id": "c-1",
            "status": status,
            "total": Decimal("12.3400"),
            "currency": "BRL",
            "placed_at": NOON,
            "created_at": NOON,
            "created_by": "shop",
            "updated_at": NOON,
            "updated_by": "shop",
        } | changed
        return _change(self.table(ORDERS), op, Position(at.pop("epoch", 1), offset, **at), values)

    def line(self, order_id: str, offset: int, *, version: int, status: str) -> Change:
        """Return a change of an enriched order line."""
        values = {
            "tenant_id": self.name,
            "order_month": MONTH,
            "order_id": order_id,
            "line_no": 1,
            "sku": "s-1",
            "quantity": 2,
            "unit_price": Decimal("1.0000"),
            "freight": Decimal("0.5000"),
            "currency": "BRL",
            "priced_at": NOON,
            "created_at": NOON,
            "created_by": "shop",
            "updated_at": NOON,
            "updated_by": "shop",
            "catalog_version": version // 2,
            "enrichment_status": status,
        }
        return _change(self.table(ORDER_LINES), Op.UPDATE, Position(1, offset, version, (offset, offset)), values)

    def payment(self, payment_id: str, offset: int, *, op: Op = Op.UPDATE, **changed: object) -> Change:
        """Return a change of a payment, whose key doesn't tell its month."""
        values = {
            "tenant_id": self.name,
            "payment_id": payment_id,
            "order_month": MONTH,
            "order_id": "o-1",
            "provider": "acme",
            "provider_status": "captured",
            "method": "card",
            "installments": 1,
            "amount": Decimal("12.3400"),
            "currency": "BRL",
            "paid_at": NOON,
            "created_at": NOON,
            "created_by": "shop",
            "updated_at": NOON,
            "updated_by": "shop",
        } | changed
        at = changed.pop("at", NOON)
        found = _change(self.table(PAYMENTS), op, Position(1, offset, log=(offset, offset)), values)
        return replace(found, source_time=at)  # type: ignore[arg-type]

    def event(self, event_id: str, offset: int, event_type: str = "placed", day: date = DAY) -> Change:
        """Return an event of the outbox."""
        values = {
            "tenant_id": self.name,
            "event_day": day,
            "event_id": event_id,
            "aggregate_type": "order",
            "aggregate_id": "o-1",
            "event_type": event_type,
            "schema_version": 1,
            "payload": '{"total": "12.34", "note": "caf\\u00e9"}',
            "occurred_at": NOON,
        }
        return _change(self.table(EVENTS), Op.CREATE, Position(1, offset), values)


class Worker:
    """A claim on a tenant's partition, as a sink worker holds one."""

    def __init__(self, reporting: Reporting, tenant: Tenant) -> None:
        self._reporting = reporting
        self._tenant = tenant
        self.checkpoint = reporting.claim(tenant.partition, tenant.topic_id, 0)

    def land(self, *changes: Change, upto: int | None = None) -> Landed:
        """Lands one batch; the checkpoint moves behind its last offset, or to `upto`."""
        last = max((change.position.offset + 1 for change in changes), default=self.checkpoint.next_offset)
        return self.land_all(changes, max(self.checkpoint.next_offset, last) if upto is None else upto)

    def land_all(self, changes: Sequence[Change], upto: int = 0) -> Landed:
        """Lands one batch; the checkpoint moves to `upto`."""
        moved = Checkpoint(
            topic_id=self.checkpoint.topic_id,
            next_offset=upto,
            fence=self.checkpoint.fence,
        )
        landed = self._reporting.land(Batch(changes=changes, checkpoints={self._tenant.partition: moved}))
        self.checkpoint = moved
        return landed


def _change(table: Table, op: object, position: Position, values: dict[str, object]) -> Change:
    row: Row = tuple(values.get(column.name) for column in table.all_columns)  # type: ignore[misc]
    return Change(
        table=table,
        key=tuple(values[name] for name in table.key),  # type: ignore[misc]
        op=Op(op),  # type: ignore[call-overload]
        position=position,
        source_time=NOON,
        row=None if op is Op.DELETE else row,
    )
