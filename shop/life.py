"""The life cycle of a generated order: payments, progress, and sometimes a cancellation."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from shop.model import MarkOrder, MovePayment, OrderStatus, PaymentStatus, PlaceOrder, Step, TakePayment, WithdrawOrder
from shop.payments import CENT, PROVIDERS, method_token, split

METHODS = ("credit_card", "credit_card", "credit_card", "boleto", "debit_card")
FAILS, RETRIED, BY_VOUCHER_TOO = 0.08, 0.8, 0.04
CANCELLED, WITHDRAWN, SHIPPED, DELIVERED = 0.05, 0.005, 0.92, 0.9


def life(placed: PlaceOrder, hurry: float, rng: random.Random) -> Iterator[Step]:
    """Yield the steps after `placed`, not in order of time, within nine days times `hurry` (0 to 1)."""
    clock = _Clock(placed.at, hurry, rng)
    captured: list[TakePayment] = []
    for payment in _payments(placed, clock.after(minutes=5), rng):
        yield payment
        captured.append(payment)
    if captured[0].status is PaymentStatus.FAILED:
        if rng.random() >= RETRIED:
            yield _mark(placed, OrderStatus.CANCELLED, clock.after(hours=1))
            return
        yield _moved(captured[0], PaymentStatus.CAPTURED, clock.after(minutes=30))
    if rng.random() < WITHDRAWN:
        yield WithdrawOrder(at=clock.after(hours=2), order=placed.order)
        return
    yield _mark(placed, OrderStatus.APPROVED, clock.after(hours=1))
    if rng.random() < CANCELLED:
        yield _mark(placed, OrderStatus.CANCELLED, clock.after(hours=12))
        refunded_at = clock.after(hours=6)
        for payment in captured:
            yield _moved(payment, PaymentStatus.REFUNDED, refunded_at)
    elif rng.random() < SHIPPED:
        yield _mark(placed, OrderStatus.SHIPPED, clock.after(hours=72))
        if rng.random() < DELIVERED:
            yield _mark(placed, OrderStatus.DELIVERED, clock.after(hours=120))


class _Clock:
    """A clock that advances by random amounts."""

    def __init__(self, now: datetime, hurry: float, rng: random.Random) -> None:
        self._now, self._hurry, self._rng = now, hurry, rng

    def after(self, *, hours: int = 0, minutes: int = 0) -> datetime:
        """Advance by at least a microsecond and at most this long; return the new time."""
        most = timedelta(hours=hours, minutes=minutes) * self._hurry
        self._now += most * self._rng.random() + timedelta(microseconds=1)
        return self._now


def _payments(placed: PlaceOrder, at: datetime, rng: random.Random) -> Iterator[TakePayment]:
    if rng.random() < BY_VOUCHER_TOO:
        rest, by_voucher = split(placed.total, (Decimal(3), Decimal(1)))
        yield _payment(placed, 1, rest, at=at, method=rng.choice(METHODS), status=PaymentStatus.CAPTURED)
        if by_voucher >= CENT:
            yield _payment(placed, 2, by_voucher, at=at, method="voucher", status=PaymentStatus.CAPTURED)
        return
    status = PaymentStatus.FAILED if rng.random() < FAILS else PaymentStatus.CAPTURED
    yield _payment(placed, 1, placed.total, at=at, method=rng.choice(METHODS), status=status)


def _payment(  # noqa: PLR0913
    placed: PlaceOrder, number: int, amount: Decimal, *, at: datetime, method: str, status: PaymentStatus
) -> TakePayment:
    payment_id = f"{placed.order.order_id}-{number}"
    return TakePayment(
        at=at,
        order=placed.order,
        payment_id=payment_id,
        provider=PROVIDERS[method],
        status=status,
        method=method,
        method_token=method_token(method, f"{placed.customer_id}/{payment_id}"),
        installments=1,
        amount=amount,
        currency=placed.currency,
    )


def _moved(payment: TakePayment, status: PaymentStatus, at: datetime) -> MovePayment:
    return MovePayment(at=at, order=payment.order, payment_id=payment.payment_id, status=status)


def _mark(placed: PlaceOrder, status: OrderStatus, at: datetime) -> MarkOrder:
    return MarkOrder(at=at, order=placed.order, status=status, moment=at)
