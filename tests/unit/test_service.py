"""The loop that all workers share: turns, the end, readiness; and the folder that a killed process leaves."""

import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest

from messaging.scratch import scratch_folder
from messaging.service import Service, serving, stop_on_signals
from schemas.errors import Unavailable


class Counting(Service):
    """Stops itself in turn `last`, or fails there."""

    def __init__(self, last, error=None):
        super().__init__("test")
        self.last, self.error, self.calls = last, error, []

    def turn(self):
        self.calls.append("turn")
        if len(self.calls) == self.last:
            if self.error is not None:
                raise self.error
            self.stop()

    def finish(self):
        self.calls.append("finish")

    def check_ready(self):
        return "no partition is assigned yet"

    def close(self):
        self.calls.append("close")


def test_turns_run_until_stop_and_then_open_work_is_finished_before_the_close():
    worker = Counting(3)
    worker.run()
    assert worker.calls == ["turn", "turn", "turn", "finish", "close"]


def test_an_error_ends_the_worker_closed_and_without_finishing():
    worker = Counting(2, Unavailable("Kafka did not answer"))
    with pytest.raises(Unavailable):
        worker.run()
    assert worker.calls == ["turn", "turn", "close"]


def test_stop_wakes_a_worker_that_waits_for_its_next_turn():
    waits = threading.Event()

    class Pausing(Counting):
        def turn(self):
            super().turn()
            waits.set()

    worker = Pausing(-1)
    worker.pause = 3_600.0
    running = threading.Thread(target=worker.run)
    running.start()
    assert waits.wait(60)
    worker.stop()
    running.join(60)
    assert worker.calls == ["turn", "finish", "close"]


def test_a_signal_ends_the_loop_after_the_turn():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    class Signalled(Counting):
        def turn(self):
            super().turn()
            os.kill(os.getpid(), signal.SIGTERM)

    worker = Signalled(-1)
    try:
        stop_on_signals(worker.stop)
        worker.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert worker.calls == ["turn", "finish", "close"]


def test_a_worker_is_alive_while_turns_end_and_ready_when_it_says_so():
    worker = Counting(1)
    with serving(worker.alive, worker.ready, 0) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError, match="503") as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz")
        assert refused.value.read() == b"no partition is assigned yet\n"
    worker._last_turn_at -= 301
    assert worker.ready() == worker.alive()
    assert "no turn has been finished for" in (worker.alive() or "")


KILLED = """
import os, signal, sys
from pathlib import Path
from messaging.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1]), "p-") as folder:
    (folder / "file").write_text("left")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_folder_of_a_killed_process_is_deleted_at_the_next_start_and_that_of_a_living_one_is_not(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    (tmp_path / "p-unlocked").mkdir()
    with scratch_folder(tmp_path, "p-") as first:
        assert {each.name for each in tmp_path.iterdir()} == {first.name}
        assert not left.exists()
        with scratch_folder(tmp_path, "p-") as second:
            assert first.exists() and second.exists()
    assert list(tmp_path.iterdir()) == []
