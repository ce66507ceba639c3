"""Olist's files: each rule for ambiguous data, and each error that a file can have."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from schemas.errors import HeadraceError
from shop.csv_rows import utc
from shop.model import ListProduct, MarkOrder, OrderKey, OrderStatus, PlaceOrder, Step, TakePayment, WithdrawOrder
from shop.olist import history
from shop.olist_files import read

OLIST = Path(__file__).parents[3] / "shared" / "data" / "olist"
ORDER_COLUMNS = (
    "order_id,customer_id,order_status,order_purchase_timestamp,order_approved_at,"
    "order_delivered_carrier_date,order_delivered_customer_date,order_estimated_delivery_date"
)
FILES = {
    "orders.csv": ORDER_COLUMNS,
    "order_items.csv": "order_id,order_item_id,product_id,seller_id,shipping_limit_date,price,freight_value",
    "order_payments.csv": "order_id,payment_sequential,payment_type,payment_installments,payment_value",
    "products.csv": "product_id,product_category_name",
}
BOUGHT = "2017-11-27 19:09:02"


class Data:
    """Write a data set, one row a call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines = {name: [columns] for name, columns in FILES.items()}
        self.add("products.csv", "p1,casa_conforto").add("products.csv", "p2,")

    def add(self, file: str, line: str) -> "Data":
        self._lines[file].append(line)
        return self

    def order(self, order_id: str, *, status: str = "delivered", at: str = BOUGHT, then: str = ",,") -> "Data":
        return self.add("orders.csv", f"{order_id},c-{order_id},{status},{at},{then},2017-12-20 00:00:00")

    def item(self, order_id: str, number: int, *, seller: str = "s1", product: str = "p1", price: str = "10") -> "Data":
        return self.add("order_items.csv", f"{order_id},{number},{product},{seller},{BOUGHT},{price},2.5")

    def paid(self, order_id: str, number: int, value: str, method: str = "boleto") -> "Data":
        return self.add("order_payments.csv", f"{order_id},{number},{method},1,{value}")

    def steps(self) -> list[Step]:
        for name, lines in self._lines.items():
            (self.folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return list(history(self.folder).steps())


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path)


@pytest.mark.parametrize(
    ("status", "then", "expected"),
    [
        ("created", ",,", []),
        ("approved", "2017-11-27 20:00:00,,", [OrderStatus.APPROVED]),
        ("invoiced", "2017-11-27 20:00:00,,", [OrderStatus.APPROVED]),
        ("processing", "2017-11-27 20:00:00,,", [OrderStatus.APPROVED]),
        ("shipped", "2017-11-27 20:00:00,2017-11-28 20:00:00,", [OrderStatus.APPROVED, OrderStatus.SHIPPED]),
        (
            "delivered",
            "2017-11-27 20:00:00,2017-11-28 20:00:00,2017-11-29 20:00:00",
            [OrderStatus.APPROVED, OrderStatus.SHIPPED, OrderStatus.DELIVERED],
        ),
        ("canceled", "2017-11-27 20:00:00,,", [OrderStatus.APPROVED, OrderStatus.CANCELLED]),
        ("canceled", ",,", [OrderStatus.CANCELLED]),
        ("unavailable", "2017-11-27 20:00:00,,", [OrderStatus.APPROVED, "withdrawn"]),
    ],
)
def test_each_status_becomes_the_life_cycle_that_the_timestamps_give(
    data: Data, status: str, then: str, expected: list[object]
) -> None:
    steps = data.order("o1", status=status, then=then).item("o1", 1).steps()
    marks = [step.status for step in steps if isinstance(step, MarkOrder)]
    withdrawn = ["withdrawn" for step in steps if isinstance(step, WithdrawOrder)]
    assert [*marks, *withdrawn] == expected


def test_each_seller_has_an_order_of_its_own_and_its_share_of_each_payment(data: Data) -> None:
    data.order("o1").item("o1", 1, seller="s1", price="10").item("o1", 2, seller="s2", price="20")
    steps = data.paid("o1", 1, "25.00", "credit_card").paid("o1", 2, "10.01", "voucher").steps()
    month = datetime(2017, 11, 1, tzinfo=UTC).date()
    placed = {step.order: step for step in steps if isinstance(step, PlaceOrder)}
    assert set(placed) == {OrderKey("s1", month, "o1"), OrderKey("s2", month, "o1")}
    assert [line.line_no for line in placed[OrderKey("s2", month, "o1")].lines] == [2]
    paid = {(s.order.tenant_id, s.payment_id): s.amount for s in steps if isinstance(s, TakePayment)}
    assert paid == {
        ("s1", "o1-1"): Decimal("8.93"),
        ("s2", "o1-1"): Decimal("16.07"),
        ("s1", "o1-2"): Decimal("3.58"),
        ("s2", "o1-2"): Decimal("6.43"),
    }


def test_a_cent_that_cannot_be_divided_is_paid_to_one_seller(data: Data) -> None:
    data.order("o1").item("o1", 1, seller="s1").item("o1", 2, seller="s2")
    payments = [step for step in data.paid("o1", 1, "0.01").steps() if isinstance(step, TakePayment)]
    assert [(payment.order.tenant_id, payment.amount) for payment in payments] == [("s1", Decimal("0.01"))]


def test_an_order_without_items_has_no_tenant_and_is_counted(data: Data) -> None:
    data.order("o1").order("o2").item("o2", 1)
    steps = data.steps()
    assert {step.order.order_id for step in steps if isinstance(step, PlaceOrder)} == {"o2"}
    assert (history(data.folder).orders, history(data.folder).left_out) == (1, 1)


def test_an_order_without_payments_is_placed(data: Data) -> None:
    steps = data.order("o1").item("o1", 1).steps()
    assert [type(step) for step in steps] == [ListProduct, PlaceOrder]


def test_a_price_that_changed_is_listed_just_before_the_order_that_shows_it(data: Data) -> None:
    data.order("o1").order("o2", at="2017-11-28 10:00:00").order("o3", at="2017-11-28 11:00:00")
    data.item("o1", 1, price="10").item("o2", 1, price="10.00").item("o3", 1, price="12")
    steps = data.steps()
    assert [type(step) for step in steps] == [ListProduct, PlaceOrder, PlaceOrder, ListProduct, PlaceOrder]
    listed = [step for step in steps if isinstance(step, ListProduct)]
    assert [(step.at, step.price) for step in listed] == [
        (utc(BOUGHT) - timedelta(milliseconds=1), Decimal("10.00")),
        (utc("2017-11-28 11:00:00") - timedelta(milliseconds=1), Decimal("12.00")),
    ]
    assert (listed[0].name, listed[0].category) == ("Casa conforto p1", "casa_conforto")


def test_of_two_prices_in_one_instant_the_first_is_listed(data: Data) -> None:
    data.order("o1").order("o2").item("o1", 1, price="10").item("o2", 1, price="12")
    assert [step.price for step in data.steps() if isinstance(step, ListProduct)] == [Decimal(10)]


def test_a_product_without_category_is_uncategorised(data: Data) -> None:
    steps = data.order("o1").item("o1", 1, product="p2").steps()
    assert [step.category for step in steps if isinstance(step, ListProduct)] == ["uncategorised"]


def test_a_timestamp_out_of_order_is_recorded_with_its_predecessor(data: Data) -> None:
    data.order("o1", then="2017-11-29 10:00:00,2017-11-28 10:00:00,2017-12-01 10:00:00").item("o1", 1)
    marks = [step for step in data.steps() if isinstance(step, MarkOrder)]
    assert [mark.status for mark in marks] == [OrderStatus.APPROVED, OrderStatus.SHIPPED, OrderStatus.DELIVERED]
    assert marks[1].at == marks[0].at == utc("2017-11-29 10:00:00")
    assert marks[1].moment == utc("2017-11-28 10:00:00")


def test_the_month_of_an_order_is_that_of_its_purchase_in_utc(data: Data) -> None:
    data.order("o1", at="2017-11-30 23:30:00").item("o1", 1)
    (placed,) = [step for step in data.steps() if isinstance(step, PlaceOrder)]
    assert placed.at == datetime(2017, 12, 1, 1, 30, tzinfo=UTC)
    assert placed.order.order_month == datetime(2017, 12, 1, tzinfo=UTC).date()


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ("2017-07-01 12:00:00", datetime(2017, 7, 1, 15, tzinfo=UTC)),
        ("2017-12-01 12:00:00", datetime(2017, 12, 1, 14, tzinfo=UTC)),
        # Clocks skipped 00:00 to 01:00 on 15 October 2017: read with the offset before, -03.
        ("2017-10-15 00:30:00", datetime(2017, 10, 15, 3, 30, tzinfo=UTC)),
        # 23:00 to 24:00 on 17 February 2018 occurred twice: the first one, -02.
        ("2018-02-17 23:30:00", datetime(2018, 2, 18, 1, 30, tzinfo=UTC)),
    ],
)
def test_local_times_are_converted_to_utc(local: str, expected: datetime) -> None:
    assert utc(local) == expected


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("orders.csv", "o1,c,delivered,yesterday,,,,", r"orders.csv, line 2: order_purchase_timestamp is 'yesterday'"),
        ("orders.csv", "o1,c,lost,2017-11-27 19:09:02,,,,", r"order_status is 'lost'; expected one of approved, "),
        ("orders.csv", "o1,c", r"orders.csv, line 2: order_delivered_carrier_date|order_status is ''; expected"),
        ("orders.csv", ",c,delivered,2017-11-27 19:09:02,,,,", r"order_id is ''; expected a value"),
        (
            "order_items.csv",
            f"o1,1,p1,s1,{BOUGHT},ten,1",
            r"order_items.csv, line 2: price is 'ten'; expected an amount",
        ),
        ("order_items.csv", f"o1,1,p1,s1,{BOUGHT},NaN,1", r"price is 'NaN'; expected an amount"),
        ("order_items.csv", f"o1,1,p1,s1,{BOUGHT},1.999,1", r"price is '1.999'; expected an amount"),
        ("order_items.csv", f"o1,one,p1,s1,{BOUGHT},1,1", r"order_item_id is 'one'; expected a whole number"),
        ("order_items.csv", f"o1,1,p9,s1,{BOUGHT},1,1", r"product_id is 'p9'; expected one in products.csv"),
        ("order_items.csv", f"o9,1,p1,s1,{BOUGHT},1,1", r"order_id is 'o9'; expected one in orders.csv"),
        ("order_payments.csv", "o1,1,shells,1,1", r"payment_type is 'shells'; expected one of boleto, credit_card"),
        ("order_payments.csv", "o1,1,boleto,1,-1", r"payment_value is '-1'; expected an amount"),
    ],
)
def test_a_bad_field_is_named_with_file_line_and_what_was_expected(data: Data, file: str, line: str, said: str) -> None:
    if file != "orders.csv":
        data.order("o1")
    data.add(file, line)
    with pytest.raises(HeadraceError, match=said):
        data.steps()


def test_a_repeated_order_or_item_is_named(data: Data) -> None:
    data.order("o1").item("o1", 1).item("o1", 1)
    with pytest.raises(HeadraceError, match=r"order_items.csv, line 3: order_item_id is '1'; expected each number"):
        data.steps()
    data.order("o1")
    with pytest.raises(HeadraceError, match=r"orders.csv, line 3: order_id is 'o1'; expected each order once"):
        data.steps()


def test_a_missing_column_file_or_folder_is_named(data: Data) -> None:
    data.steps()
    (data.folder / "order_items.csv").write_text("order_id,item\n", encoding="utf-8")
    with pytest.raises(
        HeadraceError, match=r"order_items.csv, line 1: no column order_item_id, .*found: order_id, item"
    ):
        read(data.folder)
    (data.folder / "orders.csv").unlink()
    with pytest.raises(HeadraceError, match=r"orders.csv: No such file"):
        read(data.folder)
    with pytest.raises(HeadraceError, match=r"nowhere: no such folder"):
        history(data.folder / "nowhere")


def test_bytes_that_are_no_text_are_named(data: Data) -> None:
    data.steps()
    (data.folder / "orders.csv").write_bytes(ORDER_COLUMNS.encode() + b"\n\xff\xfe\n")
    with pytest.raises(HeadraceError, match=r"orders.csv: not UTF-8"):
        read(data.folder)


if OLIST.is_dir():

    @pytest.fixture(scope="module")
    def real() -> list[Step]:
        return list(history(OLIST).steps())

    def test_all_real_orders_are_in_order_of_time(real: list[Step]) -> None:
        told = history(OLIST)
        assert [step.at for step in real] == sorted(step.at for step in real)
        assert told.first_day <= real[0].at.date() <= real[-1].at.date() <= told.last_day
        placed = [step for step in real if isinstance(step, PlaceOrder)]
        assert (len(placed), len({step.order.order_id for step in placed})) == (told.orders, 3_750)
        assert sum(len(step.lines) for step in placed) == 4_234
        assert told.left_out == 0

    def test_every_real_payment_is_divided_exactly(real: list[Step]) -> None:
        paid: dict[str, Decimal] = defaultdict(Decimal)
        for step in real:
            if isinstance(step, TakePayment):
                paid[step.payment_id] += step.amount
        data = read(OLIST)
        owed = {f"{order_id}-{p.number}": p.value for order_id, several in data.payments.items() for p in several}
        assert paid == owed

    def test_every_real_status_is_reached(real: list[Step]) -> None:
        ends = Counter(
            getattr(step, "status", "withdrawn") for step in real if isinstance(step, MarkOrder | WithdrawOrder)
        )
        assert ends[OrderStatus.CANCELLED] == 235
        assert ends["withdrawn"] == 3
