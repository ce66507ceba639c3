"""Amounts, identities and the order of time, which both histories use."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.events import event, uuid7
from shop.model import (
    ListProduct,
    MarkOrder,
    MovePayment,
    OrderKey,
    OrderLine,
    OrderStatus,
    OrderStep,
    PaymentStatus,
    PlaceOrder,
    Step,
)
from shop.payments import CARDS, PROVIDERS, method_token, split
from shop.timeline import Timeline
from shop.writer import BATCH, _batches

AT = datetime(2026, 10, 3, 12, 30, 0, 123456, tzinfo=UTC)
ORDER = OrderKey("t", date(2026, 10, 1), "o")
cents = st.decimals(min_value=0, max_value=100_000, places=2)


def placed(at: datetime = AT, order_id: str = "o") -> PlaceOrder:
    line = OrderLine(line_no=1, sku="s", quantity=2, unit_price=Decimal("1.50"), freight=Decimal("0.25"))
    order = OrderKey("t", date(2026, 10, 1), order_id)
    return PlaceOrder(at=at, order=order, customer_id="c", currency="EUR", lines=(line,))


def listed(*, late: bool = False) -> ListProduct:
    return ListProduct(
        at=AT, tenant_id="t", sku="s", name="n", category="c", price=Decimal(1), currency="EUR", stock=1, late=late
    )


@given(cents, st.lists(cents, min_size=1, max_size=8))
def test_shares_add_up_exactly(amount: Decimal, weights: list[Decimal]) -> None:
    shares = split(amount, weights)
    assert sum(shares) == amount
    assert all(share == share.quantize(Decimal("0.01")) and share >= 0 for share in shares)


@given(cents, st.lists(cents, min_size=1, max_size=8).filter(lambda weights: sum(weights) > 0))
def test_no_share_is_off_by_a_cent_or_more(amount: Decimal, weights: list[Decimal]) -> None:
    for share, weight in zip(split(amount, weights), weights, strict=True):
        assert abs(share - amount * weight / sum(weights)) < Decimal("0.01") + Decimal("1e-20")


def test_an_order_costs_what_its_lines_cost() -> None:
    assert placed().total == Decimal("3.25")


@pytest.mark.parametrize("method", PROVIDERS)
@given(st.text(max_size=80))
def test_no_token_looks_like_a_card_number(method: str, identity: str) -> None:
    token = method_token(method, identity)
    assert (token is None) == (method not in CARDS)
    assert token is None or re.fullmatch(r"tok_[a-p]{24}", token)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 31)), st.binary(min_size=10))
def test_an_event_id_is_a_uuid_version_7_of_its_time(at: datetime, identity: bytes) -> None:
    made = uuid7(at.replace(tzinfo=UTC), identity)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == (at - datetime(1970, 1, 1)) // timedelta(milliseconds=1)


def test_the_same_step_has_the_same_event_in_every_run() -> None:
    assert event(placed()) == event(placed())
    assert str(event(placed()).event_id) == "01a101be-21bb-7c49-be35-6bddb21f0a16"


def test_each_step_of_an_order_has_an_event_of_its_own() -> None:
    steps: list[OrderStep] = [
        placed(),
        *(
            MarkOrder(at=AT, order=ORDER, status=status, moment=AT)
            for status in OrderStatus
            if status is not OrderStatus.PLACED
        ),
        *(MovePayment(at=AT, order=ORDER, payment_id="o-1", status=status) for status in PaymentStatus),
    ]
    assert len({event(step).event_id for step in steps}) == len(steps)


def test_an_event_names_tenant_order_and_trace() -> None:
    made = event(placed())
    assert (made.event_type, made.aggregate_type, made.aggregate_id) == ("OrderPlaced", "order", "o")
    assert made.payload["tenant_id"] == "t"
    assert made.payload["total"] == "3.25"
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", made.traceparent)


@given(st.lists(st.integers(min_value=0, max_value=20), max_size=40))
def test_overlapping_life_cycles_are_merged_in_order_of_time(seconds: list[int]) -> None:
    timeline = Timeline()
    for number, second in enumerate(seconds):
        timeline.add(placed(AT + timedelta(seconds=second), str(number)))
    early = list(timeline.before(AT + timedelta(seconds=10)))
    late = list(timeline.rest())
    assert all(step.at < AT + timedelta(seconds=10) for step in early)
    by_time = sorted(range(len(seconds)), key=lambda number: (seconds[number], number))
    assert [step.order.order_id for step in early + late if isinstance(step, PlaceOrder)] == [str(n) for n in by_time]


def test_a_late_product_ends_its_batch_so_that_orders_before_it_are_written_first() -> None:
    steps: list[Step] = [listed(), placed(), listed(late=True), placed()]
    assert list(_batches(steps, lambda step: 0.0)) == [steps[:3], steps[3:]]


def test_batches_are_bounded_and_hold_every_step_once_and_in_order() -> None:
    steps: list[Step] = [placed(order_id=str(number)) for number in range(2 * BATCH + 1)]
    batches = list(_batches(steps, lambda step: 0.0))
    assert [len(batch) for batch in batches] == [BATCH, BATCH, 1]
    assert [step for batch in batches for step in batch] == steps
