"""A folder as a store, while others write to it and delete from it."""

import threading
from pathlib import Path

from sinks.archive.store import LocalStore


def test_a_listing_is_not_disturbed_by_files_that_are_deleted_meanwhile(tmp_path: Path):
    store, stopping = LocalStore(tmp_path), threading.Event()
    (tmp_path / "events").mkdir()
    (tmp_path / "events/stays").write_text("x")

    def come_and_go() -> None:
        while not stopping.is_set():
            for number in range(50):
                (tmp_path / f"events/{number}").write_text("x")
            for number in range(50):
                (tmp_path / f"events/{number}").unlink()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(500):
            assert store.sizes("events")["events/stays"] == 1
    finally:
        stopping.set()
        other.join()
