"""Run the soak: the shop places orders while servers, workers and the network fail by a seeded schedule.

    python -m tests.soak --minutes 60 --seed 7

Every commit in reporting is checked meanwhile (tests/soak/invariants.py), and `headrace verify` compares every row at
the end. A run is `(seed, commit)`; the log has each action and its time. The exit code is 0 when every invariant held,
else 1: then the folder is kept, with all logs.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from connectors.connect import Connect
from connectors.pipeline import Pipeline
from messaging import clients
from schemas.errors import HeadraceError
from schemas.topics import DEAD_LETTERS
from stack import interrupts
from tests.soak.faults import Faults
from tests.soak.pipeline import SoakPipeline
from tests.soak.report import Outcome, lines, untold
from tests.soak.schedule import schedule
from tests.soak.shop import TENANT, Markers, Trade
from tests.soak.witness import Witness
from tests.support.eventually import eventually

ROOT = Path(__file__).parents[2]
TOXIPROXY = ROOT / ".venv" / "bin" / "toxiproxy"
WATCH_S = 10.0
BY_HAND_S = 120.0  # after which a connector that is still failed is restarted
SETTLE_S = 600.0  # in which the pipeline lands what was committed before the load stopped
COMMITS = "SELECT count(*) FROM sales.outbox_events"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=None, help="by default a new one")
    parser.add_argument("--rate", type=float, default=5, help="the shop's orders a second")
    asked = parser.parse_args()
    seed = random.randrange(100_000) if asked.seed is None else asked.seed  # noqa: S311
    folder = Path(tempfile.mkdtemp(prefix="headrace-soak-")) / "stack"
    say = _log(folder.parent / "soak.log")
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
    say(f"seed {seed}, commit {commit}; {asked.minutes:g} minutes in {folder}")
    os.environ["HEADRACE_STACK_DIR"] = str(folder)
    with interrupts.terminable():
        pipeline, held = SoakPipeline(folder, TOXIPROXY), False
        try:
            outcome = Soak(pipeline, seed, asked.rate, say).run(asked.minutes, commit)
            held = outcome.held
            for line in lines(outcome):
                say(line)
        finally:
            with interrupts.undisturbed():
                pipeline.close(logs=folder.parent / "logs", wipe=held)
    say(f"logs are in {folder.parent}{'' if held else ', and the data'}")
    return 0 if held else 1


class Soak:
    """One run on a running pipeline."""

    def __init__(self, pipeline: SoakPipeline, seed: int, rate: float, say: Callable[[str], None]) -> None:
        self._pipeline, self._seed, self._say = pipeline, seed, say
        self._witness = Witness(pipeline.superuser("reporting"), TENANT)
        self._witness.start()
        self._markers = Markers(pipeline.settings, f"marker-{seed}")
        self._trade = Trade(pipeline.settings, seed, rate, say)
        self._faults = Faults(pipeline, f"bulk-{seed}", say)
        self._ended = threading.Event()
        self._told, self._restarted = set[str](), 0
        self._failed_since: dict[str, float] = {}

    def run(self, minutes: float, commit: str) -> Outcome:
        """Play the schedule, stop the load, and check the result."""
        watching = threading.Thread(target=self._watch, name="watching", daemon=True)
        watching.start()
        self._faults.play(schedule(self._seed, minutes * 60), minutes * 60)
        self._say("the load stops")
        self._trade.stop()
        self._markers.stop()
        pipeline = self._pipeline
        self._wait_for_workers()
        self._say("every row is compared")
        verified, said = self._verify()
        self._ended.set()
        watching.join()
        self._witness.stop()
        markers, (rows, seen), sink = self._markers.known(), self._witness.counts(), pipeline.workers.sink()
        return Outcome(
            seed=self._seed,
            commit=commit,
            minutes=minutes,
            commits=self._commits(),
            repeats=sink["folded"] - sink["written"],
            retries=sink["retries"],
            dead_letters=sum(clients.end_offsets(pipeline.settings.kafka.bootstrap, [DEAD_LETTERS]).values()),
            rows=rows,
            seen=seen,
            delays=self._witness.delays(markers),
            wrong=self._witness.wrong(markers),
            missing=self._witness.missing(markers),
            verify=said,
            verified=verified,
            done=self._faults.done,
            failed=self._faults.failed,
            exits=pipeline.workers.exits,
            restarted=self._restarted,
            memory=pipeline.workers.memory(),
        )

    def _wait_for_workers(self) -> None:
        """Return when all workers are ready, or log which are not: the comparison then shows the effect."""
        workers = self._pipeline.workers
        try:
            eventually(lambda: not workers.not_ready(), SETTLE_S)
        except AssertionError:
            self._say(f"not ready after {SETTLE_S:.0f} s: {', '.join(workers.not_ready())}")

    def _verify(self) -> tuple[bool, str]:
        """Compare every row once all has landed: `headrace verify` waits for that."""
        command = [sys.executable, "-m", "operations", "verify", "--deadline", str(SETTLE_S)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode == 0, done.stdout + done.stderr

    def _commits(self) -> int:
        """Return the number of commits: each step of the shop writes one event; the faults count their own."""
        with psycopg.connect(self._pipeline.superuser("shop")) as source:
            ((events,),) = source.execute(COMMITS).fetchall()
        return int(events) + self._faults.commits

    def _watch(self) -> None:
        """Log violations at once; restart a connector that stays failed, as the runbook tells an operator."""
        while not self._ended.wait(WATCH_S):
            for each in untold(self._witness.wrong(self._markers.known()), self._told):
                self._say(f"WRONG: {each}")
            try:
                self._check_connectors()
            except HeadraceError:  # Connect is being restarted
                continue

    def _check_connectors(self) -> None:
        connect, line = Connect(self._pipeline.settings.connect.url), Pipeline()
        for name in map(line.connector, line.sources):
            failure, now = connect.status(name).failure, time.monotonic()
            if failure is None:
                self._failed_since.pop(name, None)
            elif name not in self._failed_since:
                self._failed_since[name] = now
                self._say(f"connector {name} has failed: {failure}")
            elif now - self._failed_since[name] > BY_HAND_S:
                self._say(f"connector {name} is restarted by hand")
                self._failed_since.pop(name)
                self._restarted += 1
                connect.restart(name)


def _log(path: Path) -> Callable[[str], None]:
    began, lock = time.monotonic(), threading.Lock()

    def say(text: str) -> None:
        line = f"{time.monotonic() - began:7.1f} s  {text}"
        with lock, path.open("a") as log:
            log.write(line + "\n")
            print(line, flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
