"""Divide amounts exact to the cent, and make tokens for cards. No card number is ever used."""

from collections.abc import Sequence
from decimal import Decimal

from shop.naming import letters

CENT = Decimal("0.01")
PROVIDERS = {"credit_card": "cardhouse", "debit_card": "cardhouse", "boleto": "boletobank", "voucher": "giftdesk"}
CARDS = frozenset({"credit_card", "debit_card"})


def split(amount: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """Divide `amount`, in whole cents, in proportion to `weights`; the shares add up to it exactly.

    Each share is rounded down; the remaining cents go to the largest remainders, in order among equals. Weights that
    are all zero count as equal.
    """
    whole = sum(weights, Decimal(0))
    if whole == 0:
        weights, whole = [Decimal(1)] * len(weights), Decimal(len(weights))
    cents = int(amount / CENT)
    exact = [cents * weight / whole for weight in weights]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(shares)), key=lambda index: shares[index] - exact[index])
    for index in by_remainder[: cents - sum(shares)]:
        shares[index] += 1
    return [share * CENT for share in shares]


def method_token(method: str, identity: str) -> str | None:
    """Return a token for a card; None for a method without one."""
    if method not in CARDS:
        return None
    return f"tok_{letters(identity, 24)}"
