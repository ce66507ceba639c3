"""Readiness probes: each server is asked by a client, as logs don't tell."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Protocol

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stack.folder import LOOPBACK

TIMEOUT_S = 2.0


class Probe(Protocol):
    def __call__(self) -> bool:
        """Return True when the server answers as itself, False when it doesn't yet."""
        ...


@dataclass(frozen=True, slots=True)
class PostgresAnswers:
    port: int
    password: str

    def __call__(self) -> bool:
        try:
            with psycopg.connect(
                host=LOOPBACK,
                port=self.port,
                user="postgres",
                password=self.password,
                dbname="postgres",
                connect_timeout=2,
            ) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class KafkaAnswers:
    """Ready when the broker of *our* cluster answers: another stack's may have taken the port."""

    port: int
    cluster: str

    def __call__(self) -> bool:
        settings: dict[str, str | int | float | bool] = {"bootstrap.servers": f"{LOOPBACK}:{self.port}", "log_level": 0}
        try:
            metadata = AdminClient(settings).list_topics(timeout=TIMEOUT_S)
        except KafkaException:
            return False
        return metadata.cluster_id == self.cluster and bool(metadata.brokers)


@dataclass(frozen=True, slots=True)
class HttpAnswers:
    """Ready when `path` answers 200; `expect` names a field of the JSON answer at `/` and its value."""

    port: int
    path: str
    expect: tuple[str, str] | None = None

    def __call__(self) -> bool:
        try:
            self._get(self.path)
            return self.expect is None or json.loads(self._get("/")).get(self.expect[0]) == self.expect[1]
        except (OSError, ValueError):  # HTTPError and URLError are OSErrors
            return False

    def _get(self, path: str) -> bytes:
        url = f"http://{LOOPBACK}:{self.port}{path}"
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            body: bytes = answer.read()
            return body


@dataclass(frozen=True, slots=True)
class CatalogAnswers:
    port: int

    def __call__(self) -> bool:
        import pymongo  # `headrace down` asks no server
        from pymongo.errors import PyMongoError

        client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
            LOOPBACK, self.port, serverSelectionTimeoutMS=1000, directConnection=True
        )
        try:
            return bool(client.admin.command("hello")["isWritablePrimary"])
        except PyMongoError:
            return False
        finally:
            client.close()
