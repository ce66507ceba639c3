"""The generated shop: reproducible, in order of time, and with every life cycle that an order can have."""

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from schemas.errors import HeadraceError
from shop.generate import default_start, history
from shop.model import ListProduct, MarkOrder, MovePayment, OrderStatus, PaymentStatus, PlaceOrder, Step, TakePayment
from shop.model import WithdrawOrder as Withdraw

START = datetime(2026, 9, 17, tzinfo=UTC)
ORDERS = 2_000


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    return list(history(ORDERS, 1, START).steps())


def test_the_same_seed_gives_the_same_history(steps: list[Step]) -> None:
    assert list(history(ORDERS, 1, START).steps()) == steps


def test_another_seed_number_or_start_shares_no_order() -> None:
    stories = [
        history(50, 1, START),
        history(50, 2, START),
        history(60, 1, START),
        history(50, 1, START.replace(day=18)),
    ]
    orders = [{step.order for step in story.steps() if isinstance(step, PlaceOrder)} for story in stories]
    assert len(set().union(*orders)) == 50 + 50 + 60 + 50


def test_steps_are_in_the_order_of_time_and_within_the_history_s_days(steps: list[Step]) -> None:
    told = history(ORDERS, 1, START)
    moments = [step.at for step in steps]
    assert moments == sorted(moments)
    assert all(told.first_day <= moment.date() <= told.last_day for moment in moments)


@pytest.mark.parametrize("today", [date(2026, 11, 1), date(2026, 11, 30), date(2027, 3, 1), date(2028, 2, 29)])
def test_a_history_from_the_default_start_is_past_and_recent(today: date) -> None:
    told = history(10, 1, default_start(today))
    assert told.last_day < today.replace(day=1)
    assert (today - told.first_day).days <= 76


def test_every_kind_of_life_cycle_occurs(steps: list[Step]) -> None:
    kinds = Counter((type(step), getattr(step, "status", None)) for step in steps)
    assert kinds[PlaceOrder, None] == ORDERS
    for status in OrderStatus:
        assert status is OrderStatus.PLACED or kinds[MarkOrder, status] > 0
    assert kinds[TakePayment, PaymentStatus.FAILED] > kinds[MovePayment, PaymentStatus.CAPTURED] > 0
    assert kinds[MovePayment, PaymentStatus.REFUNDED] > 0
    assert kinds[Withdraw, None] > 0


def test_an_order_is_placed_before_all_else_and_priced_by_the_catalog_as_it_is_then(steps: list[Step]) -> None:
    prices: dict[tuple[str, str], Decimal] = {}
    open_orders = set()
    unlisted = 0
    for step in steps:
        if isinstance(step, ListProduct):
            prices[step.tenant_id, step.sku] = step.price
        elif isinstance(step, PlaceOrder):
            open_orders.add(step.order)
            for line in step.lines:
                listed = prices.get((step.order.tenant_id, line.sku))
                unlisted += listed is None
                assert listed is None or line.unit_price in (
                    listed,
                    (listed * Decimal("0.9")).quantize(Decimal("0.01")),
                )
        else:
            assert step.order in open_orders
    assert unlisted > 0


def test_a_product_sold_before_it_was_listed_is_listed_late(steps: list[Step]) -> None:
    listed = {(step.tenant_id, step.sku) for step in steps if isinstance(step, ListProduct)}
    sold = {(s.order.tenant_id, line.sku) for s in steps if isinstance(s, PlaceOrder) for line in s.lines}
    assert sold <= listed


def test_prices_of_a_product_follow_each_other_in_whole_milliseconds(steps: list[Step]) -> None:
    last: dict[tuple[str, str], datetime] = {}
    changes = 0
    for step in steps:
        if isinstance(step, ListProduct):
            assert step.at.microsecond % 1000 == 0
            before = last.get((step.tenant_id, step.sku))
            assert before is None or before < step.at
            changes += before is not None
            last[step.tenant_id, step.sku] = step.at
    assert changes > 0


def test_payments_captured_add_up_to_the_order(steps: list[Step]) -> None:
    totals = {step.order: step.total for step in steps if isinstance(step, PlaceOrder)}
    paid: Counter[object] = Counter()
    for step in steps:
        if isinstance(step, TakePayment):
            paid[step.order] += step.amount  # type: ignore[assignment]
    assert paid == totals


def test_tenants_are_as_unequal_as_real_ones(steps: list[Step]) -> None:
    by_tenant = Counter(step.order.tenant_id for step in steps if isinstance(step, PlaceOrder))
    ranked = [count for _, count in by_tenant.most_common()]
    assert len(ranked) == 40
    assert ranked[0] > 5 * ranked[20]


@pytest.mark.parametrize(("orders", "start"), [(0, START), (1, START.replace(tzinfo=None))])
def test_arguments_that_make_no_history_are_named(orders: int, start: datetime) -> None:
    with pytest.raises(HeadraceError, match="expected"):
        history(orders, 1, start)
