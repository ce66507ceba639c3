"""Decode records by the registry's schemas, over Confluent's API. No other module decodes a record's bytes.

Each schema id is fetched once and its reader cached. Of a change's envelope, only the fields that schemas/ reads are
decoded.
"""

import io
from collections.abc import Mapping
from typing import Any

import fastavro
import httpx
import orjson
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from messaging.projection import Read, Unsupported, Wanted, compile_reader
from schemas import wire
from schemas.decoders import mongo, postgres
from schemas.errors import BadRecord, HeadraceError, Unavailable

Schema = dict[str, Any]
Datum = Mapping[str, Any]

# https://docs.confluent.io/platform/current/schema-registry/develop/api.html#schemas
_SCHEMA_NOT_FOUND = 40403

_ENVELOPE = postgres.ENVELOPE_FIELDS | mongo.ENVELOPE_FIELDS
_NARROWED: Wanted = dict.fromkeys(_ENVELOPE) | {"source": dict.fromkeys(postgres.SOURCE_FIELDS | mongo.SOURCE_FIELDS)}


class Registry:
    """A schema registry at `url` (for Apicurio .../apis/ccompat/v7). Not for use by several threads at once.

    `patience` is the time in seconds for which requests to a registry that does not answer are retried, before
    Unavailable is raised. `whole` reads every field of an envelope, for callers that need more than the decoders do.
    """

    def __init__(self, url: str, *, patience: float = 20.0, whole: bool = False) -> None:
        self._url = url.rstrip("/")
        self._whole = whole
        self._http = httpx.Client(timeout=5.0)
        self._readers: dict[int, Read] = {}
        self._retrying = Retrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_random_exponential(multiplier=0.1, max=2.0),
            stop=stop_after_delay(patience),
            reraise=True,
        )

    def decode(self, value: bytes) -> Datum:
        """Decode the record that `value` holds in Confluent's wire format.

        Raises:
            BadRecord: The bytes don't fit their schema (trailing bytes included), or the schema id is unknown.
            Unavailable: The registry does not answer.
            HeadraceError: The address is not that of a registry.
        """
        id_ = wire.schema_id(value)
        read = self._readers.get(id_) or self._fetch(id_)
        try:
            datum, end = read(value, wire.HEADER_SIZE)
        except Exception as error:  # the bytes are foreign, and any error of their reader is about them
            raise BadRecord(
                f"malformed Avro for schema {id_}: {type(error).__name__}", entry="foreign-record"
            ) from None
        if end != len(value):
            raise BadRecord(
                f"malformed Avro for schema {id_}: its record ends at byte {end}, not {len(value)}",
                entry="foreign-record",
            )
        return datum

    def register(self, subject: str, schema: Schema) -> int:
        """Return the id of `schema` under `subject`, and register it where it is missing. Idempotent.

        Raises:
            HeadraceError: The registry refuses the schema (incompatible).
            Unavailable: The registry does not answer.
        """
        body = {"schema": orjson.dumps(schema).decode(), "schemaType": "AVRO"}
        answer = self._ask("POST", f"/subjects/{subject}/versions", json=body)
        if answer.status_code != httpx.codes.OK:
            raise HeadraceError(f"the schema registry refused a schema for {subject}: {_reason(answer)}")
        return int(answer.json()["id"])

    def latest(self, subject: str) -> tuple[int, Schema]:
        """Return the id of the newest schema under `subject`, and that schema.

        Raises:
            HeadraceError: There is none.
            Unavailable: The registry does not answer.
        """
        answer = self._ask("GET", f"/subjects/{subject}/versions/latest")
        if answer.status_code != httpx.codes.OK:
            raise HeadraceError(f"the schema registry has no schema for {subject}: {_reason(answer)}")
        found = answer.json()
        schema: Schema = orjson.loads(found["schema"])
        return int(found["id"]), schema

    def close(self) -> None:
        """Close the connections to the registry."""
        self._http.close()

    def _fetch(self, id_: int) -> Read:
        answer = self._ask("GET", f"/schemas/ids/{id_}")
        if _says_unknown(answer):
            raise BadRecord(f"schema {id_} is unknown to the registry at {self._url}", entry="schema-unknown")
        if answer.status_code != httpx.codes.OK:
            raise HeadraceError(
                f"{self._url} does not answer as a schema registry: {_reason(answer)}; check HEADRACE_REGISTRY__URL"
            )
        try:
            schema = fastavro.parse_schema(orjson.loads(answer.json()["schema"]))
        except Exception as error:
            raise BadRecord(
                f"schema {id_} in the registry is not an Avro schema: {error}", entry="foreign-record"
            ) from None
        if not isinstance(schema, dict) or schema["type"] != "record":
            raise _foreign(f"expected a record's schema, schema {id_} is {str(schema)[:80]}")
        self._readers[id_] = reader(schema, whole=self._whole)
        return self._readers[id_]

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        return self._retrying(self._ask_once, method, path, **request)

    def _ask_once(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, self._url + path, **request)
        except httpx.TransportError as error:
            raise Unavailable(f"the schema registry at {self._url} does not answer: {error}") from None
        # 408 and 429 ask for a retry; any other 4xx is an answer.
        if answer.is_server_error or answer.status_code in (408, 429):
            raise Unavailable(f"the schema registry at {self._url} answered {_reason(answer)}")
        return answer


def reader(schema: Schema, *, whole: bool = False) -> Read:
    """Return the reader of `schema`: of a change's envelope it decodes what the decoders need, otherwise everything."""
    names = {field["name"] for field in schema["fields"]}
    try:
        return compile_reader(schema, _NARROWED if names >= _ENVELOPE and not whole else None)
    except Unsupported:
        return _whole(schema)


def _whole(schema: Schema) -> Read:
    def read(value: bytes, position: int) -> tuple[dict[str, Any], int]:
        stream = io.BytesIO(value)
        stream.seek(position)
        datum: dict[str, Any] = fastavro.schemaless_reader(stream, schema)  # type: ignore[assignment]
        return datum, stream.tell()

    return read


def _says_unknown(answer: httpx.Response) -> bool:
    """Return whether the registry does not know the schema.

    Only the registry's own code says so: a proxy's 404 or a refused login must not dead-letter a whole topic.
    """
    try:
        return answer.status_code == httpx.codes.NOT_FOUND and answer.json().get("error_code") == _SCHEMA_NOT_FOUND
    except (ValueError, AttributeError):
        return False


def _reason(answer: httpx.Response) -> str:
    return f"{answer.status_code} {answer.text[:200]}"


def _foreign(message: str) -> BadRecord:
    """Return the error for a record that no writer of this pipeline has written."""
    return BadRecord(message, entry="foreign-record")
