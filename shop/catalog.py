"""Write catalog entries to MongoDB: current products (products) and their past names and prices (price_history).

No transaction spans the two collections, nor MongoDB and Postgres: a product is written before its history entry, and
both before the order that needs them. Each write is idempotent, so a run that was killed can be resumed.
"""

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from bson import Decimal128
from pymongo import InsertOne, UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from schemas.errors import HeadraceError, Unavailable
from shop.model import ListProduct

Document = dict[str, Any]
DUPLICATE_KEY = 11000


def write_listings(catalog: Database[Document], listings: Sequence[ListProduct]) -> int:
    """Write, in order, the entries that are missing; return how many were written.

    A product keeps its newest entry when an older one is written again. Raises Unavailable, HeadraceError.
    """
    try:
        todo = _not_done(catalog, listings)
        try:
            _write(catalog, todo)
        except BulkWriteError as error:
            if _code(error) != DUPLICATE_KEY:
                raise
            _write(catalog, _not_done(catalog, todo))  # writes of a run that was just killed have arrived meanwhile
    except BulkWriteError as error:
        raise _refused(str(error.details.get("writeErrors") or error)) from None
    except OperationFailure as error:
        raise _refused(str(error)) from None
    except PyMongoError as error:
        reason = str(error).split(" (")[0]
        raise Unavailable(
            f"MongoDB, the shop's catalog: {reason}; check that it runs, then run the same headrace load again"
        ) from None
    return len(todo)


def _write(catalog: Database[Document], todo: Sequence[ListProduct]) -> None:
    if todo:
        catalog.products.bulk_write(_products(catalog, todo))
        catalog.price_history.bulk_write([_entry(listing) for listing in todo])


def _code(error: BulkWriteError) -> int | None:
    """Return the error code of the write that ended an ordered bulk; there is at most one."""
    errors = error.details["writeErrors"]
    return errors[0]["code"] if errors else None


def _not_done(catalog: Database[Document], listings: Sequence[ListProduct]) -> list[ListProduct]:
    """Return the listings that are missing. An entry is written after its product, so it proves both."""
    if not listings:
        return []
    found = catalog.price_history.find({"_id": {"$in": [_key(listing) for listing in listings]}})
    done = {(entry["tenant_id"], entry["sku"], entry["valid_from"].replace(tzinfo=UTC)) for entry in found}
    return [listing for listing in listings if (listing.tenant_id, listing.sku, listing.at) not in done]


def _products(catalog: Database[Document], listings: Sequence[ListProduct]) -> list[UpdateOne]:
    """Insert missing products; change existing ones only if their state is older."""
    keys = {(listing.tenant_id, listing.sku): _product_key(listing) for listing in listings}
    found = catalog.products.find({"_id": {"$in": list(keys.values())}}, {"tenant_id": 1, "sku": 1})
    known = {(product["tenant_id"], product["sku"]) for product in found}
    updates = []
    for listing in listings:
        key = _product_key(listing)
        state = _state(listing) | {"stock": listing.stock, "updated_at": listing.at}
        if (listing.tenant_id, listing.sku) in known:
            updates.append(UpdateOne({"_id": key, "updated_at": {"$lt": listing.at}}, {"$set": state}))
        else:
            updates.append(UpdateOne({"_id": key}, {"$setOnInsert": key | state}, upsert=True))
            known.add((listing.tenant_id, listing.sku))
    return updates


def _product_key(listing: ListProduct) -> Document:
    return {"tenant_id": listing.tenant_id, "sku": listing.sku}


def _key(listing: ListProduct) -> Document:
    return {"tenant_id": listing.tenant_id, "sku": listing.sku, "valid_from": listing.at}


def _entry(listing: ListProduct) -> InsertOne[Document]:
    key = _key(listing)
    return InsertOne({"_id": key} | key | _state(listing))


def _state(listing: ListProduct) -> Document:
    return {
        "name": listing.name,
        "category": listing.category,
        "price": Decimal128(listing.price),
        "currency": listing.currency,
    }


def _refused(reason: str) -> HeadraceError:
    return HeadraceError(f"MongoDB refused a catalog entry: {reason}; are its migrations at this version?")
