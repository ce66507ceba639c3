"""Changes for the contract suite: short to write in a test, complete enough for a real table."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

from schemas.change import Change, Op, Row
from schemas.position import Position
from schemas.tables import EVENTS, ORDER_LINES, ORDERS, Table
from sinks.port import Batch, Checkpoint, Landed, Partition, Reporting

MONTH = date(2026, 11, 1)
NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One test's own rows: a tenant, and a partition that nobody else reads."""

    name: str = field(default_factory=lambda: f"t-{uuid4().hex[:12]}")
    topic_id: str = "id-1"

    @property
    def partition(self) -> Partition:
        return Partition(f"topic.{self.name}", 0)

    def order(self, order_id: str, offset: int, status: str = "placed", **changed: object) -> Change:
        """A change of an order. `at` overrides parts of its position; `op=Op.DELETE` deletes it."""
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
        return _change(ORDERS, op, Position(at.pop("epoch", 1), offset, **at), values)

    def line(self, order_id: str, offset: int, *, version: int, status: str) -> Change:
        """An enriched line of an order."""
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
        return _change(ORDER_LINES, Op.UPDATE, Position(1, offset, version, (offset, offset)), values)

    def event(self, event_id: str, offset: int, event_type: str = "placed") -> Change:
        """An event of the outbox."""
        values = {
            "tenant_id": self.name,
            "event_day": NOON.date(),
            "event_id": event_id,
            "aggregate_type": "order",
            "aggregate_id": "o-1",
            "event_type": event_type,
            "schema_version": 1,
            "payload": '{"total": "12.34", "note": "caf\\u00e9"}',
            "occurred_at": NOON,
        }
        return _change(EVENTS, Op.CREATE, Position(1, offset), values)


class Worker:
    """A claim on a tenant's partition, as a sink worker holds one."""

    def __init__(self, reporting: Reporting, tenant: Tenant) -> None:
        self._reporting = reporting
        self._tenant = tenant
        self.checkpoint = reporting.claim(tenant.partition, tenant.topic_id, 0)

    def land(self, *changes: Change, upto: int | None = None) -> Landed:
        """Lands one batch; the checkpoint moves behind its last offset, or to `upto`."""
        last = max((change.position.offset + 1 for change in changes), default=self.checkpoint.next_offset)
        moved = Checkpoint(
            topic_id=self.checkpoint.topic_id,
            next_offset=max(self.checkpoint.next_offset, last) if upto is None else upto,
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
