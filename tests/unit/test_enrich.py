"""The enrichment of a line, and when it is final."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from schemas.change import Change, Op
from schemas.decoders.values import microseconds
from schemas.position import Position, enrichment_version
from schemas.tables import ORDER_LINES
from streams.asof import CatalogEntry
from streams.catalog import Catalog
from streams.enrich import Wait, enricher

T0 = datetime(2026, 1, 1, tzinfo=UTC)
LAMP = ("shop", "lamp")
enrich = enricher(ORDER_LINES)


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def us(seconds):
    return microseconds(at(seconds))


def line(priced, *, committed=None, offset=7, sku="lamp"):
    row = {
        "tenant_id": "shop", "order_month": date(2026, 1, 1), "order_id": "o", "line_no": 1, "sku": sku, "quantity": 1,
        "unit_price": Decimal(9), "freight": Decimal(1), "currency": "BRL", "priced_at": at(priced),
        "created_at": T0, "created_by": "t", "updated_at": T0, "updated_by": "t", "deleted_at": None,
        "deleted_by": None,
    }  # fmt: skip
    source_time = at(priced if committed is None else committed)
    key, position = ("shop", date(2026, 1, 1), "o", 1), Position(1, offset, log=(offset, offset))
    values = tuple(row.values())
    return Change(table=ORDER_LINES, key=key, op=Op.CREATE, position=position, source_time=source_time, row=values)


def catalog(*entries, known=None):
    found = Catalog(slack=timedelta(0))
    for seconds, name in entries:
        found.add(LAMP, CatalogEntry(us(seconds), name, "home", Decimal(5)))
    if known is not None:
        found.heartbeat(at(known))
    return found


def columns(enriched):
    names = [column.name for column in ORDER_LINES.enrichment]
    return dict(zip(names, enriched.change.row[-len(names) :], strict=True))


def test_a_line_gets_the_product_as_it_was_when_it_was_priced():
    enriched = enrich(line(25), catalog((10, "old"), (20, "then"), (30, "now"), known=100))
    assert columns(enriched) == {
        "product_name": "then", "category": "home", "list_price": Decimal(5), "catalog_version": us(20),
        "enrichment_status": "enriched",
    }  # fmt: skip
    assert enriched.wait is None
    assert enriched.change.position.version == enrichment_version(us(20), decided=True)


def test_a_line_above_the_watermark_is_provisional_until_a_heartbeat_passes_its_price_date():
    enriched = enrich(line(25), catalog((20, "then"), known=24))
    assert columns(enriched)["enrichment_status"] == "provisional"
    assert columns(enriched)["product_name"] == "then"
    assert enriched.wait == Wait(LAMP, us(25))


def test_a_line_of_an_unknown_product_is_pending_with_nothing_in_its_columns():
    enriched = enrich(line(25), catalog(known=100))
    assert list(columns(enriched).values()) == [None, None, None, 0, "pending"]
    assert enriched.wait == Wait(LAMP, None)
    assert enriched.change.position.version == 0


def test_a_late_product_is_final_only_when_no_earlier_entry_can_follow():
    undecided = enrich(line(25), catalog((40, "late"), known=30))
    assert columns(undecided)["enrichment_status"] == "pending"
    assert undecided.wait == Wait(LAMP, us(40))
    decided = enrich(line(25), catalog((40, "late"), (50, "later"), known=40))
    assert columns(decided)["product_name"] == "late"
    assert decided.wait is None


def test_history_played_back_today_waits_for_what_was_written_before_it():
    """Entries with valid_from in the past, written today: known as far as they were written before the line."""
    assert enrich(line(-9_000_000, committed=50), catalog((-9_500_000, "then"), known=49)).wait == Wait(LAMP, us(50))
    assert enrich(line(-9_000_000, committed=50), catalog((-9_500_000, "then"), known=50)).wait is None


def test_a_delete_passes_on_with_its_position():
    gone = line(25)
    gone = Change(table=gone.table, key=gone.key, op=Op.DELETE, position=gone.position, source_time=T0, row=None)
    assert enrich(gone, catalog()) == (gone, None)


def test_everything_emitted_keeps_the_position_of_the_captured_record():
    position = enrich(line(25), catalog((10, "x"), known=99)).change.position
    assert position._replace(version=0) == line(25).position


entries = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc")), max_size=6, unique_by=lambda each: each[0])


@given(entries, st.integers(-5, 45), st.integers(0, 50), st.data())
def test_a_final_choice_does_not_change_whatever_follows(found, priced, known, data):
    """As promised, what is read after a heartbeat is not older than it."""
    seen = data.draw(st.lists(st.sampled_from(found), unique=True)) if found else []
    early = [each for each in found if each in seen or each[0] <= known]
    first = enrich(line(priced), catalog(*early, known=known))
    last = enrich(line(priced), catalog(*found, known=1_000))
    if first.wait is None:
        assert first.change == last.change
    else:
        assert first.change.position.version <= last.change.position.version
