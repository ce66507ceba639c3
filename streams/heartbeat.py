"""Write MongoDB's own time into the catalog's heartbeat document, each second.

Capture delivers it after every entry written before it, which gives the watermark
(docs/decisions/0002-catalog-watermark.md). If MongoDB is down, lines still flow, and stay provisional.
"""

import logging
import threading
import time
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from schemas.decoders.mongo import HEARTBEAT_ID
from streams.metrics import HEARTBEAT_FAILURES

_LOG = logging.getLogger("headrace.enrich")
_COLLECTION = "heartbeat"
_TIMEOUT_MS = 3_000


class HeartbeatWriter:
    """A thread that updates `heartbeat` in `database` each `seconds`. Several workers may do so at once."""

    def __init__(self, uri: str, database: str, *, seconds: float = 1.0) -> None:
        # Connects when first used: a MongoDB that is down does not keep the worker from starting.
        self._client: MongoClient[dict[str, Any]] = MongoClient(
            uri, tz_aware=True, serverSelectionTimeoutMS=_TIMEOUT_MS, connect=False
        )
        self._collection = self._client[database][_COLLECTION]
        self._seconds = seconds
        self._stop = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def stop(self) -> None:
        """Stop writing."""
        self._stop.set()
        if self._thread.ident:
            self._thread.join(2 * _TIMEOUT_MS / 1000)
        self._client.close()

    def beat(self) -> None:
        """Write one heartbeat. A failure is counted, and logged once."""
        try:
            self._collection.update_one({"_id": HEARTBEAT_ID}, {"$currentDate": {"at": True}}, upsert=True)
        except PyMongoError as error:
            HEARTBEAT_FAILURES.inc()
            if not self._failing:
                _LOG.warning(
                    "the catalog's heartbeat could not be written: %s; new lines stay provisional, "
                    "see docs/runbook.md#catalog-heartbeat",
                    error,
                )
            self._failing = True
            return
        if self._failing:
            _LOG.info("the catalog's heartbeat is written again")
        self._failing = False

    def _run(self) -> None:
        while not self._stop.is_set():
            self.beat()
            # Just after a full second: the cluster time has whole seconds.
            self._stop.wait(self._seconds - (time.time() - 0.02) % self._seconds)
