"""Kafka Connect's REST API, in the few words that the plan needs."""

import re
import time
from dataclasses import dataclass
from typing import Any

import httpx

from connectors.pipeline import Config
from connectors.plan import FAILED, RUNNING, STOPPED, UNASSIGNED, SeenConnector
from schemas.errors import HeadraceError, Unavailable

TIMEOUT = 30.0  # seconds for one answer: a validation opens connections to the databases
REBALANCE_S = 60.0
_POLL_S = 0.2
_CONFLICT, _NOT_FOUND = 409, 404
_NO_RIGHT = 401, 403
_SAID = 200  # characters kept of each end of a reason
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
        """One state for the connector and its tasks: FAILED when any of them has failed, else the first that is not
        RUNNING. Connect reports a connector whose task has failed as RUNNING; one without a task captures nothing."""
        parts = (self.state, *self.tasks)
        if FAILED in parts:
            return FAILED
        return next((part for part in parts if part != RUNNING), RUNNING if self.tasks else UNASSIGNED)

    @property
    def running(self) -> bool:
        """Whether the connector and at least one task, and all tasks, say RUNNING."""
        return self.overall == RUNNING


class Connect:
    """One Connect cluster. Every call raises Unavailable when it does not answer, or not to us (401, 403);
    HeadraceError when it refuses."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def validate(self, name: str, config: Config) -> None:
        """Raises ConfigRefused, a line for each field that Connect finds fault with."""
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
        """The connector's configuration; None where there is none."""
        answer = self._ask("GET", f"/connectors/{name}/config", missing_ok=True)
        if answer.status_code == _NOT_FOUND:
            return None
        found: Config = self._fields(answer)
        return found

    def seen(self, name: str) -> SeenConnector | None:
        """The connector as it is; None where there is none."""
        config = self.config(name)
        if config is None:
            return None
        status = self.status(name)
        return SeenConnector(
            config=config, state=status.overall, failure=status.failure, offsets=bool(self.offsets(name))
        )

    def status(self, name: str) -> ConnectorStatus:
        """The connector's state. A connector that was made a moment ago may have none yet: then it is UNASSIGNED."""
        answer = self._ask("GET", f"/connectors/{name}/status", missing_ok=True)
        if answer.status_code == _NOT_FOUND:
            return ConnectorStatus(state=UNASSIGNED, tasks=())
        said = self._fields(answer, "connector", "tasks")
        traces = [each["trace"] for each in (said["connector"], *said["tasks"]) if each.get("trace")]
        return ConnectorStatus(
            state=said["connector"]["state"],
            tasks=tuple(task["state"] for task in said["tasks"]),
            failure=_reason(traces[0]) if traces else None,
        )

    def offsets(self, name: str) -> list[dict[str, Any]]:
        """The source offsets that the connector has committed; empty before it has begun, or where there is none."""
        answer = self._ask("GET", f"/connectors/{name}/offsets", missing_ok=True)
        if answer.status_code == _NOT_FOUND:
            return []
        found: list[dict[str, Any]] = self._fields(answer, "offsets")["offsets"]
        return [each for each in found if each["offset"]]

    def snapshotting(self, name: str) -> bool:
        """Whether the connector's last committed offset stands within its first snapshot."""
        offsets = [each["offset"] for each in self.offsets(name)]
        return any(offset.get("snapshot") and not offset.get("snapshot_completed") for offset in offsets)

    def put(self, name: str, config: Config) -> None:
        """Create the connector, or configure it anew."""
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
        """Remove a connector, its offsets first: one made later under this name begins anew."""
        self.stop(name)
        self._ask("DELETE", f"/connectors/{name}/offsets")
        self._ask("DELETE", f"/connectors/{name}")

    def _ask(
        self, method: str, path: str, config: Config | None = None, *, name: str | None = None, missing_ok: bool = False
    ) -> httpx.Response:
        """The answer. A rebalance is waited out."""
        body = None if config is None else config | ({"name": name} if name else {})
        end = time.monotonic() + REBALANCE_S
        while True:
            try:
                answer = httpx.request(method, self.url + path, json=body, timeout=TIMEOUT)
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
        # A password or a right (401, 403) is mended on the other side, too.
        passing = answer.is_server_error or answer.status_code in (_CONFLICT, *_NO_RIGHT)
        refused = Unavailable if passing else HeadraceError
        raise refused(f"Kafka Connect at {self.url} refuses {method} {path}: {_said(answer)}")

    @staticmethod
    def _fields(answer: httpx.Response, *names: str) -> dict[str, Any]:
        """The answer's JSON object. Raises Unavailable where it is none, or lacks one of these fields: a proxy may have
        answered."""
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


def _is_rebalance(answer: httpx.Response) -> bool:
    """Whether Connect refuses because of a rebalance, which ends by itself.

    It says 409 where something is to be changed
    (https://docs.confluent.io/platform/current/connect/references/restapi.html), and a plain 500 where a configuration
    is asked for: only the message tells that from a fault.
    """
    return answer.status_code == _CONFLICT or (answer.is_server_error and "rebalance" in _said(answer))


def _said(answer: httpx.Response) -> str:
    try:
        return _clean(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"


def _reason(trace: str) -> str:
    """The first line of a Java trace, and of its root cause where that says more."""
    lines = trace.splitlines()
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    first = lines[0]
    said = _clean(f"{first}; cause: {causes[-1]}" if causes and causes[-1] not in first else first)
    # Debezium prints all that it holds between the beginning of a sentence and its end.
    return said if len(said) <= 2 * _SAID else f"{said[:_SAID]} … {said[-_SAID:]}"


def _clean(text: str) -> str:
    """One line, with no password of a URI in it."""
    return _USERINFO.sub("://…@", " ".join(text.split()))
