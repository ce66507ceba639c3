"""The MongoDB stand-in as its clients see it: pymongo's commands, and the events of `watch()`."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pymongo
import pytest
from bson import Decimal128, Timestamp
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, OperationFailure

from stack import java
from stack.folder import free_port
from stack.probes import CatalogAnswers
from stack.servers import stand_in

KEPT_EVENTS = 50
HISTORY_LOST = 286
PEN = {"tenant_id": "t1", "sku": "pen"}

Client = pymongo.MongoClient[dict[str, Any]]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A stand-in of our own, as it keeps only a few events."""
    with running() as client:
        yield client


@contextlib.contextmanager
def running(*file: str, end: str = "terminate") -> Iterator[Client]:
    """A stand-in that keeps its data in `file`, if any, and is ended by SIGTERM or by a crash, `kill`."""
    port = free_port(taken=set())
    command = [str(java.runtime()), *stand_in(java.jars(print)), str(port), str(KEPT_EVENTS), *file]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        probe, deadline = CatalogAnswers(port), time.monotonic() + 240
        while not probe():
            assert server.poll() is None and time.monotonic() < deadline, "the stand-in did not start"
        with pymongo.MongoClient(f"mongodb://127.0.0.1:{port}/?replicaSet=rs0", tz_aware=True) as client:
            yield client
    finally:
        getattr(server, end)()
        server.wait(timeout=20)


@pytest.fixture
def database(client: Client, request: pytest.FixtureRequest) -> Iterator[Database[dict[str, Any]]]:
    name = f"db{abs(hash(request.node.name))}"
    yield client[name]
    client.drop_database(name)


@pytest.fixture
def products(database: Database[dict[str, Any]]) -> Collection[dict[str, Any]]:
    return database["products"]


def events(stream: Any, count: int) -> list[dict[str, Any]]:
    return [stream.next() for _ in range(count)]


def test_a_client_sees_a_replica_set_with_a_writable_primary(client: Client) -> None:
    hello = client.admin.command("hello")
    assert hello["setName"] == "rs0" and hello["isWritablePrimary"]
    assert isinstance(hello["operationTime"], Timestamp)


def test_each_kind_of_change_arrives_in_order_with_its_key(products: Collection[dict[str, Any]]) -> None:
    with products.watch() as stream:
        products.insert_one({"_id": PEN, "price": Decimal128("1.50")})
        products.update_one({"_id": PEN}, {"$set": {"price": Decimal128("1.60")}})
        products.replace_one({"_id": PEN}, {"name": "Pen"})
        products.delete_one({"_id": PEN})
        insert, update, replace, delete = events(stream, 4)
    assert [e["operationType"] for e in (insert, update, replace, delete)] == ["insert", "update", "replace", "delete"]
    assert all(e["documentKey"] == {"_id": PEN} for e in (insert, update, replace, delete))
    assert insert["clusterTime"] < update["clusterTime"] < replace["clusterTime"] < delete["clusterTime"]
    assert insert["fullDocument"] == {"_id": PEN, "price": Decimal128("1.50")}
    assert replace["fullDocument"] == {"_id": PEN, "name": "Pen"}
    assert "fullDocument" not in update and "fullDocument" not in delete


def test_an_update_tells_what_changed_whatever_operators_were_used(products: Collection[dict[str, Any]]) -> None:
    products.insert_one({"_id": 1, "stock": 5, "old": 1, "size": {"h": 1, "w": 2}, "tags": ["a"]})
    with products.watch() as stream:
        products.update_one(
            {"_id": 1},
            {"$inc": {"stock": -1}, "$unset": {"old": ""}, "$set": {"size.h": 9}, "$push": {"tags": "b"}},
        )
        told = stream.next()["updateDescription"]
    assert told["updatedFields"] == {"stock": 4, "size.h": 9, "tags": ["a", "b"]}
    assert told["removedFields"] == ["old"]


def test_an_update_that_changes_nothing_says_nothing(products: Collection[dict[str, Any]]) -> None:
    products.insert_one({"_id": 1, "name": "Pen"})
    with products.watch() as stream:
        products.update_one({"_id": 1}, {"$set": {"name": "Pen"}})
        products.delete_one({"_id": 1})
        assert stream.next()["operationType"] == "delete"


def test_an_updated_document_is_looked_up_on_request(products: Collection[dict[str, Any]]) -> None:
    products.insert_one({"_id": 1, "name": "Pen", "stock": 1})
    with products.watch(full_document="updateLookup") as stream:
        products.update_one({"_id": 1}, {"$inc": {"stock": 1}})
        assert stream.next()["fullDocument"] == {"_id": 1, "name": "Pen", "stock": 2}


def test_find_and_modify_is_a_change_like_any_other(products: Collection[dict[str, Any]]) -> None:
    with products.watch() as stream:
        products.find_one_and_update({"_id": 1}, {"$set": {"n": 1}}, upsert=True)
        products.find_one_and_update({"_id": 1}, {"$inc": {"n": 1}})
        products.find_one_and_replace({"_id": 1}, {"m": 1})
        products.find_one_and_delete({"_id": 1})
        kinds = [event["operationType"] for event in events(stream, 4)]
    assert kinds == ["insert", "update", "replace", "delete"]


def test_many_documents_and_bulk_writes_give_an_event_for_each(products: Collection[dict[str, Any]]) -> None:
    with products.watch() as stream:
        products.insert_many([{"_id": n} for n in range(3)])
        products.update_many({}, {"$set": {"seen": True}})
        products.bulk_write(
            [pymongo.UpdateOne({"_id": 9}, {"$set": {"n": 1}}, upsert=True), pymongo.DeleteMany({"seen": True})]
        )
        seen = [(event["operationType"], event["documentKey"]["_id"]) for event in events(stream, 10)]
    assert seen == [
        *(("insert", n) for n in range(3)),
        *(("update", n) for n in range(3)),
        ("insert", 9),
        *(("delete", n) for n in range(3)),
    ]


def test_a_stream_resumes_after_a_token_without_gap_or_repeat(products: Collection[dict[str, Any]]) -> None:
    with products.watch() as stream:
        products.insert_many([{"_id": n} for n in range(4)])
        token = events(stream, 2)[-1]["_id"]
    with products.watch(resume_after=token) as resumed:
        assert [event["documentKey"]["_id"] for event in events(resumed, 2)] == [2, 3]
    with products.watch(start_after=token) as resumed:
        assert resumed.next()["documentKey"]["_id"] == 2


def test_a_stream_starts_at_a_cluster_time_that_time_included(products: Collection[dict[str, Any]]) -> None:
    with products.watch() as stream:
        products.insert_many([{"_id": n} for n in range(3)])
        second = events(stream, 2)[1]["clusterTime"]
    with products.watch(start_at_operation_time=second) as stream:
        assert [event["documentKey"]["_id"] for event in events(stream, 2)] == [1, 2]


def test_a_quiet_stream_s_token_moves_on_with_the_changes_of_others(database: Database[dict[str, Any]]) -> None:
    with database["quiet"].watch(max_await_time_ms=50) as stream:
        before = stream.resume_token
        for _ in range(KEPT_EVENTS * 2):
            database["noisy"].insert_one({})
            assert stream.try_next() is None
        assert before is not None and stream.resume_token is not None
        after = stream.resume_token
    with database["quiet"].watch(resume_after=after) as resumed:  # it would be too old, had it stood still
        database["quiet"].insert_one({"_id": 1})
        assert resumed.next()["documentKey"] == {"_id": 1}


def test_a_token_older_than_the_kept_events_is_refused_not_skipped(products: Collection[dict[str, Any]]) -> None:
    with products.watch() as stream:
        products.insert_one({"_id": -1})
        token = stream.next()["_id"]
    products.insert_many([{"_id": n} for n in range(KEPT_EVENTS)])
    with products.watch(resume_after=token) as stream:  # all that came after it are just still here
        assert [event["documentKey"]["_id"] for event in events(stream, KEPT_EVENTS)] == [*range(KEPT_EVENTS)]
    products.insert_one({"_id": "one more"})
    with pytest.raises(OperationFailure) as refused, products.watch(resume_after=token):
        pass
    assert refused.value.code == HISTORY_LOST


def test_a_reader_that_falls_behind_is_told_so(products: Collection[dict[str, Any]]) -> None:
    with products.watch() as stream:
        products.insert_many([{"_id": n} for n in range(KEPT_EVENTS + 1)])
        with pytest.raises(OperationFailure) as lost:
            stream.next()
    assert lost.value.code == HISTORY_LOST


def test_a_token_from_before_a_restart_is_refused(products: Collection[dict[str, Any]]) -> None:
    long_ago = Timestamp(int(time.time()) - 86_400, 1)
    with pytest.raises(OperationFailure) as lost, products.watch(start_at_operation_time=long_ago):
        pass
    assert lost.value.code == HISTORY_LOST


def test_a_stop_keeps_documents_indexes_and_the_streams_history(tmp_path: Path) -> None:
    document = {
        "_id": PEN,
        "price": Decimal128("1.50"),
        "at": datetime(2026, 2, 28, tzinfo=UTC),
        "tags": ["a", {"n": 1}],
    }
    file = str(tmp_path / "kept.bson")
    with running(file) as before:
        products = before["shop"].create_collection("products", validator={"price": {"$exists": True}})
        products.create_index([("price", 1)], unique=True, name="one_price")
        with products.watch() as stream:
            products.insert_one(document)
            token = stream.next()["_id"]
            products.insert_one({"_id": "gone", "price": 2})
            products.delete_one({"_id": "gone"})
    with running(file) as after:
        products = after["shop"]["products"]
        assert list(products.find()) == [document]
        assert products.index_information()["one_price"]["unique"]
        assert products.options() == {"validator": {"price": {"$exists": True}}}
        with pytest.raises(DuplicateKeyError):
            products.insert_one({"_id": "other", "price": Decimal128("1.50")})
        with products.watch(resume_after=token) as stream:
            products.insert_one({"_id": "new", "price": 3})
            seen = [(event["operationType"], event["documentKey"]["_id"]) for event in events(stream, 3)]
        assert seen == [("insert", "gone"), ("delete", "gone"), ("insert", "new")]


def test_after_a_crash_it_is_empty_and_says_that_history_is_lost(tmp_path: Path) -> None:
    file = str(tmp_path / "kept.bson")
    with running(file) as before:
        before["shop"]["products"].insert_one({"_id": "kept"})
    with running(file, end="kill") as before, before["shop"]["products"].watch() as stream:
        before["shop"]["products"].insert_one({"_id": "lost"})
        token = stream.next()["_id"]
    with running(file) as after:
        assert list(after["shop"]["products"].find()) == []
        with pytest.raises(OperationFailure) as lost, after["shop"]["products"].watch(resume_after=token):
            pass
    assert lost.value.code == HISTORY_LOST


def test_a_malformed_token_is_refused(products: Collection[dict[str, Any]]) -> None:
    with pytest.raises(OperationFailure, match="resume token"), products.watch(resume_after={"_data": "zz"}):
        pass


def test_streams_see_their_scope_and_their_filter(client: Client, database: Database[dict[str, Any]]) -> None:
    pipeline = [{"$match": {"operationType": "delete"}}]
    with (
        client.watch() as everything,
        database.watch() as all_of_it,
        database["a"].watch(pipeline) as deletes,
    ):
        database["a"].insert_one({"_id": 1})
        database["b"].insert_one({"_id": 2})
        database["a"].delete_one({"_id": 1})
        assert [e["ns"]["coll"] for e in events(everything, 3)] == ["a", "b", "a"]
        assert [e["ns"]["coll"] for e in events(all_of_it, 3)] == ["a", "b", "a"]
        assert deletes.next()["operationType"] == "delete"


def test_a_waiting_stream_is_woken_by_a_change(products: Collection[dict[str, Any]]) -> None:
    with products.watch(max_await_time_ms=1000) as stream:
        assert stream.try_next() is None
        products.insert_one({"_id": 1})
        assert stream.next()["documentKey"] == {"_id": 1}


def test_the_server_stamps_times_that_find_the_document_again(products: Collection[dict[str, Any]]) -> None:
    start = datetime.now(UTC) - timedelta(milliseconds=1)
    products.update_one({"_id": 1}, [{"$set": {"at": "$$NOW", "name": "Pen"}}], upsert=True)
    products.update_one({"_id": 1}, {"$currentDate": {"touched": True}, "$set": {"stock": 1}})
    stored = products.find_one({"_id": 1})
    assert stored is not None and stored["name"] == "Pen" and stored["stock"] == 1
    assert start <= stored["at"] <= stored["touched"] <= datetime.now(UTC)
    assert products.count_documents({"at": stored["at"], "touched": stored["touched"]}) == 1


def test_an_update_by_pipeline_computes_from_the_document(products: Collection[dict[str, Any]]) -> None:
    products.insert_many([{"_id": n, "price": n} for n in (1, 2)])
    with products.watch() as stream:
        done = products.update_many({}, [{"$set": {"double": {"$multiply": ["$price", 2]}}}, {"$unset": "price"}])
        changed = events(stream, 2)
    assert (done.matched_count, done.modified_count) == (2, 2)
    assert [e["updateDescription"]["updatedFields"] for e in changed] == [{"double": 2}, {"double": 4}]
    after = products.find_one_and_update(
        {"_id": 1}, [{"$set": {"at": "$$NOW"}}], return_document=pymongo.ReturnDocument.AFTER
    )
    assert after is not None and isinstance(after["at"], datetime)


def test_a_stamped_time_can_be_part_of_a_unique_key(products: Collection[dict[str, Any]]) -> None:
    products.create_index([("tenant_id", 1), ("sku", 1), ("valid_from", 1)], unique=True)
    products.update_one(PEN, [{"$set": {"valid_from": "$$NOW"}}], upsert=True)
    entry = products.find_one(PEN)
    assert entry is not None
    with pytest.raises(DuplicateKeyError):
        products.insert_one(PEN | {"valid_from": entry["valid_from"]})
    assert products.delete_one({"_id": entry["_id"]}).deleted_count == 1


def test_documents_with_compound_ids_are_found_and_unique(products: Collection[dict[str, Any]]) -> None:
    products.insert_one({"_id": PEN, "stock": 1})
    with pytest.raises(DuplicateKeyError):
        products.insert_one({"_id": PEN})
    assert products.find_one({"_id": PEN}) == {"_id": PEN, "stock": 1}
    assert products.count_documents({"_id.tenant_id": "t1"}) == 1


def test_validators_are_accepted_and_listed(database: Database[dict[str, Any]]) -> None:
    schema = {"$jsonSchema": {"bsonType": "object", "required": ["sku"]}}
    database.create_collection("products", validator=schema, validationLevel="strict")
    database.command("collMod", "products", validationAction="error")
    (described,) = database.list_collections(filter={"name": "products"})
    assert described["options"] == {"validator": schema, "validationLevel": "strict", "validationAction": "error"}
    database["products"].insert_one({"_id": 1})  # accepted, not enforced


def test_users_and_roles_are_accepted_and_listed(database: Database[dict[str, Any]]) -> None:
    database.command("createRole", "appender", privileges=[], roles=[])
    database.command("createUser", "writer", pwd="x", roles=["appender"])
    assert database.command("usersInfo", "writer")["users"][0]["roles"] == ["appender"]
    assert database.command("rolesInfo", "appender")["roles"][0]["role"] == "appender"
    with pytest.raises(OperationFailure, match="already exists"):
        database.command("createUser", "writer", pwd="x", roles=[])
    database.command("dropUser", "writer")
    assert database.command("usersInfo", "writer")["users"] == []


def test_what_is_missing_is_refused_by_name(client: Client, products: Collection[dict[str, Any]]) -> None:
    with client.start_session() as session:
        session.start_transaction()
        with pytest.raises(OperationFailure, match="transactions"):
            products.insert_one({}, session=session)
        with contextlib.suppress(OperationFailure):
            session.abort_transaction()
    with pytest.raises(OperationFailure, match="merge"):
        products.aggregate([{"$merge": "elsewhere"}])
    with pytest.raises(OperationFailure, match="renaming"):
        products.rename("elsewhere")


def test_a_login_is_refused_clearly(client: Client) -> None:
    host, port = client.address or ("", 0)
    with (
        pymongo.MongoClient[dict[str, Any]](host, port, username="u", password="p", directConnection=True) as other,
        pytest.raises(OperationFailure, match="no authentication"),
    ):
        other["x"].command("ping")


def test_dropping_a_collection_is_an_event(database: Database[dict[str, Any]]) -> None:
    database["products"].insert_one({"_id": 1})
    with database.watch() as stream:
        database.drop_collection("products")
        assert stream.next()["operationType"] == "drop"
