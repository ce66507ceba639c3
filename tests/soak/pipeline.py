"""A pipeline of its own for a soak: servers, a network in between that can be harmed, and workers."""

import os
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
from psycopg.conninfo import make_conninfo

from operations import capture, migrate
from operations.settings import Settings, adopt
from stack import processes, servers, supervisor
from stack.folder import LOOPBACK, Folder, Ports, free_port, load_passwords
from stack.servers import SERVERS, Declarations, Layout, Server
from tests.soak.network import Network
from tests.soak.schedule import LINKS, WORKERS
from tests.soak.workers import Workers
from tests.support.eventually import eventually

READY_S = 180.0
STOP_S = 30.0


class SoakPipeline:
    """Started by its making, in `folder`; `toxiproxy` is the program. `settings` reach the servers directly."""

    def __init__(self, folder: Path, toxiproxy: Path) -> None:
        self.folder = Folder(folder.absolute())
        self.folder.create()
        self._restarting = threading.Lock()
        ports, taken = _free_ports(self.folder)
        self._servers = _servers(ports["kafka"])
        with ExitStack() as started:
            self._start(toxiproxy, ports, taken, started)
            self._started = started.pop_all()

    def _start(self, toxiproxy: Path, ports: Mapping[str, int], taken: Mapping[str, int], started: ExitStack) -> None:
        """Start the proxy, the servers and the workers; `started` gets how each of them is stopped."""
        self.network = Network(toxiproxy, ports["toxiproxy"], self.folder.logs / "toxiproxy.log")
        started.callback(self.network.close)
        for link, server in (("kafka", "kafka"), ("reporting", "postgres")):
            self.network.link(link, port=ports[link], to=taken[server])
        stack = supervisor.up(self.folder.root, servers=self._servers)
        started.callback(supervisor.down, self.folder.root)
        environment = stack.environment()
        self.settings = _prepared(adopt(environment))
        through = {
            "HEADRACE_KAFKA__BOOTSTRAP": f"{LOOPBACK}:{ports['kafka']}",
            "HEADRACE_REPORTING__PORT": str(ports["reporting"]),
        }
        self.workers = Workers({**os.environ, **environment, **through}, ports, self.folder.logs)
        started.callback(self.workers.stop)
        eventually(lambda: not self.workers.not_ready(), READY_S, explain=lambda: str(self.workers.not_ready()))
        self.workers.measure_from_now()

    def superuser(self, database: str) -> str:
        """Return how the superuser reaches a database of this pipeline, for libpq."""
        return make_conninfo(
            host=LOOPBACK,
            port=Ports(self.folder).current()["postgres"],
            dbname=database,
            user="postgres",
            password=load_passwords(self.folder)["postgres"],
            options="-c TimeZone=UTC -c DateStyle=ISO",
        )

    def process(self, name: str) -> psutil.Process:
        """Return the present process of a worker or server.

        Raises:
            psutil.NoSuchProcess: it has none at this moment."""
        if name in WORKERS:
            return self.workers.process(name)
        running = processes.find(self.folder.pid_of(name))
        found = running.process() if running else None
        if found is None:
            raise psutil.NoSuchProcess(0, name)
        return found

    def restart(self, name: str, down_s: float) -> None:
        """Kill a server with its children, and start it again after so many seconds.

        The catalog's stand-in is stopped instead: it keeps its documents in memory, so a kill would lose them, which
        a MongoDB does not do.
        """
        with self._restarting:
            if name == "catalog":
                running = processes.find(self.folder.pid_of(name))
                if running is not None:
                    processes.stop(running, grace=STOP_S)
            else:
                process = self.process(name)
                for member in [process, *process.children(recursive=True)]:
                    member.kill()
            time.sleep(down_s)
            supervisor.up(self.folder.root, servers=self._servers)

    def close(self, *, logs: Path, wipe: bool) -> None:
        """Stop everything and copy the logs to `logs`; with `wipe`, delete the rest."""
        self._started.close()
        shutil.copytree(self.folder.logs, logs)
        if wipe:
            supervisor.down(self.folder.root, wipe=True)


def _free_ports(folder: Folder) -> tuple[dict[str, int], Mapping[str, int]]:
    """Return a port for each link, for the proxy itself and for each worker's metrics, and the servers' ports."""
    own = Ports(folder).current()
    taken, found = set(own.values()), dict[str, int]()
    for name in (*LINKS, "toxiproxy", *WORKERS):
        found[name] = free_port(taken)
        taken.add(found[name])
    return found, own


def _servers(kafka_port: int) -> Declarations:
    """Return the stack's declarations, with a Kafka that sends its clients to `kafka_port`, which is the proxy's."""

    def kafka(layout: Layout) -> Server:
        declared = servers.kafka(layout)
        own, told = f"PLAINTEXT://{LOOPBACK}:{layout.ports['kafka']}\n", f"PLAINTEXT://{LOOPBACK}:{kafka_port}\n"
        files = tuple(
            (path, text.replace(f"advertised.listeners={own}", f"advertised.listeners={told}"))
            for path, text in declared.files
        )
        return replace(declared, files=files)

    return {**SERVERS, "kafka": kafka}


def _prepared(settings: Settings) -> Settings:
    """Migrate all databases, make the topics and begin to capture."""
    migrate.migrate_oltp(settings)
    migrate.migrate_reporting(settings)
    migrate.migrate_catalog(settings)
    capture.make_topics(settings)
    capture.apply(settings, lambda _: None)
    return settings
