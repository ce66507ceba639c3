"""Call the part of Kafka Connect's REST API that capture needs."""

import re
import ssl
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from connectors.pipeline import Config
from connectors.state import FAILED, RUNNING, STOPPED, UNASSIGNED, SeenConnector
from schemas.errors import HeadraceError, Unavailable

TIMEOUT = 30.0  # seconds for one answer: a validation opens connections to the databases
REBALANCE_S = 60.0
_POLL_S = 0.2
_CONFLICT, _NOT_FOUND = 409, 404
_NO_RIGHT = 401, 403
_KEPT = 200  # characters kept of each end of a reason
_USERINFO = re.compile(r"://[^/@\s]+@")


class ConfigRefused(HeadraceError):
    """Connect refuses a configuration; each line names a field and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorStatus:
    """A connector's state and its tasks'; `failure` is the first line of a trace, where there is one."""

    state: str
    tasks: tuple[str, ...]
    failure: str | None = None

    @property
    def overall(self) -> str:
        """One state for the connector and its tasks: FAILED when any has failed, else the first that is not RUNNING.

        Connect reports a connector whose task has failed as RUNNING. A connector without a task captures nothing.
        """
        parts = (self.state, *self.tasks)
        if FAILED in parts:
            return FAILED
        return next((part for part in parts if part != RUNNING), RUNNING if self.tasks else UNASSIGNED)

    @property
    def running(self) -> bool:
        """True when the connector and all of its tasks, at least one, are RUNNING."""
        return self.overall == RUNNING


class Connect:
    """One Connect cluster.

    Every call raises Unavailable when Connect does not answer, or refuses this client (401, 403). It raises
    HeadraceError when Connect refuses the request.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def validate(self, name: str, config: Config) -> None:
        """Have Connect check a configuration.

        Raises:
            ConfigRefused: Connect finds errors; the message has a line for each field.
        """
        answer = self._ask("PUT", f"/connector-plugins/{config['connector.class']}/config/validate", config, name=name)
        problems = [
            f"connector {name}: {entry['value']['name']}: {_clean(error)}"
            for entry in self._fields(answer, "configs")["configs"]
            if entry["value"]
            for error in entry["value"]["errors"]
        ]
        if problems:
            raise ConfigRefused("\n".join(problems))

    def config(self, name: str) -> Config | None:
        """Return the connector's configuration, or None where there is no such connector."""
        answer = self._ask("GET", f"/connectors/{name}/config", missing_ok=True)
        if answer.status_code == _NOT_FOUND:
            return None
        found: Config = self._fields(answer)
        return found

    def seen(self, name: str) -> SeenConnector | None:
        """Return the connector's present state, or None where there is no such connector."""
        config = self.config(name)
        if config is None:
            return None
        status = self.status(name)
        return SeenConnector(
            config=config, state=status.overall, failure=status.failure, offsets=bool(self.offsets(name))
        )

    def status(self, name: str) -> ConnectorStatus:
        """Return the connector's status. A new connector may have none yet: then it is UNASSIGNED."""
        answer = self._ask("GET", f"/connectors/{name}/status", missing_ok=True)
        if answer.status_code == _NOT_FOUND:
            return ConnectorStatus(state=UNASSIGNED, tasks=())
        status = self._fields(answer, "connector", "tasks")
        traces = [each["trace"] for each in (status["connector"], *status["tasks"]) if each.get("trace")]
        return ConnectorStatus(
            state=status["connector"]["state"],
            tasks=tuple(task["state"] for task in status["tasks"]),
            failure=_reason(traces[0]) if traces else None,
        )

    def offsets(self, name: str) -> list[dict[str, Any]]:
        """Return the source offsets that the connector has committed, empty before the first or without a connector."""
        answer = self._ask("GET", f"/connectors/{name}/offsets", missing_ok=True)
        if answer.status_code == _NOT_FOUND:
            return []
        found: list[dict[str, Any]] = self._fields(answer, "offsets")["offsets"]
        return [each for each in found if each["offset"]]

    def snapshotting(self, name: str) -> bool:
        """Return whether the connector's last committed offset is in its first snapshot."""
        offsets = [each["offset"] for each in self.offsets(name)]
        return any(offset.get("snapshot") and not offset.get("snapshot_completed") for offset in offsets)

    def put(self, name: str, config: Config) -> None:
        """Create the connector, or replace its configuration."""
        self._ask("PUT", f"/connectors/{name}/config", config)

    def stop(self, name: str) -> None:
        """Stop the connector and return when its tasks are gone."""
        self._ask("PUT", f"/connectors/{name}/stop")
        end = time.monotonic() + REBALANCE_S
        while (status := self.status(name)).state != STOPPED or status.tasks:
            if time.monotonic() > end:
                raise Unavailable(f"connector {name} did not stop within {REBALANCE_S:.0f} s: {status}")
            time.sleep(_POLL_S)

    def resume(self, name: str) -> None:
        """Start a stopped or paused connector."""
        self._ask("PUT", f"/connectors/{name}/resume")

    def restart(self, name: str) -> None:
        """Restart what has failed of a connector."""
        self._ask("POST", f"/connectors/{name}/restart?includeTasks=true&onlyFailed=true")

    def delete(self, name: str) -> None:
        """Remove a connector, its offsets first, so that a later one of this name starts from the beginning."""
        self.stop(name)
        self._ask("DELETE", f"/connectors/{name}/offsets")
        self._ask("DELETE", f"/connectors/{name}")

    def _ask(
        self, method: str, path: str, config: Config | None = None, *, name: str | None = None, missing_ok: bool = False
    ) -> httpx.Response:
        """Return the answer. Wait while Connect rebalances."""
        body = None if config is None else config | ({"name": name} if name else {})
        end = time.monotonic() + REBALANCE_S
        while True:
            try:
                answer = httpx.request(method, self.url + path, json=body, timeout=TIMEOUT, verify=_tls())
            except httpx.RequestError as error:
                raise Unavailable(
                    f"Kafka Connect at {self.url} does not answer ({type(error).__name__}: {error}); is it running? "
                    "see docs/runbook.md#connect-down"
                ) from None
            if not _is_rebalance(answer) or time.monotonic() > end:
                break
            time.sleep(_POLL_S)
        if answer.is_success or (missing_ok and answer.status_code == _NOT_FOUND):
            return answer
        # A password or a right (401, 403) can be corrected on the other side as well.
        passing = answer.is_server_error or answer.status_code in (_CONFLICT, *_NO_RIGHT)
        refused = Unavailable if passing else HeadraceError
        raise refused(f"Kafka Connect at {self.url} refuses {method} {path}: {_said(answer)}")

    @staticmethod
    def _fields(answer: httpx.Response, *names: str) -> dict[str, Any]:
        """Return the answer's JSON object.

        Raises:
            Unavailable: It is no JSON object, or lacks one of these fields: a proxy may have answered.
        """
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict) or not found.keys() >= set(names):
            raise Unavailable(
                f"{answer.request.method} {answer.request.url} was not answered by Kafka Connect "
                f"(status {answer.status_code}, {answer.headers.get('content-type', 'no content type')}); "
                "see docs/runbook.md#connect-down"
            )
        return found


@cache
def _tls() -> ssl.SSLContext:
    """Return the context of every request. It reads all certificate authorities, which takes 20 ms of the processor."""
    return httpx.create_ssl_context()


def _is_rebalance(answer: httpx.Response) -> bool:
    """Return whether Connect refuses because of a rebalance, which ends without action.

    It answers 409 to a change
    (https://docs.confluent.io/platform/current/connect/references/restapi.html), and a plain 500 to a read of a
    configuration: only the message distinguishes that from an error.
    """
    return answer.status_code == _CONFLICT or (answer.is_server_error and "rebalance" in _said(answer))


def _said(answer: httpx.Response) -> str:
    try:
        return _clean(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"


def _reason(trace: str) -> str:
    """Return the first line of a Java trace, and that of its root cause where it says more."""
    lines = trace.splitlines()
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    first = lines[0]
    reason = _clean(f"{first}; cause: {causes[-1]}" if causes and causes[-1] not in first else first)
    # Debezium prints a whole record between the beginning of a sentence and its end.
    return reason if len(reason) <= 2 * _KEPT else f"{reason[:_KEPT]} … {reason[-_KEPT:]}"


def _clean(text: str) -> str:
    """One line, with no password of a URI in it."""
    return _USERINFO.sub("://…@", " ".join(text.split()))
