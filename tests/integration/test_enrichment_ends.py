"""The end of an enrichment worker: its exit code, and the temporary files that it leaves."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.enrichment import Gate, enriching
from tests.support.enrichment_world import now


@pytest.fixture
def field(settings):
    with enriching(settings) as found:
        yield found


def test_a_worker_that_does_not_stop_in_time_ends_with_the_exit_code_of_its_error(field):
    field.beat(now())
    field.flush()
    with Gate(field.wiring.registry_url) as gate:
        field.wiring = replace(field.wiring, registry_url=gate.url)
        worker = field.start(patience=1.0, stop=0.0)
        field.eventually(lambda: worker.get("/readyz")[0] == 200)
    field.put(field.line(("shop", "lamp"), "o1", now() - timedelta(hours=1)))
    field.flush()
    assert worker.process.wait(300) == 2, worker.log()
    assert "enrichment ends at once" in worker.log()


def test_a_killed_worker_leaves_its_folder_only_until_the_next_one_starts(field, tmp_path):
    field.beat(now())
    field.flush()
    doomed = field.start(state_dir=tmp_path)
    field.eventually(lambda: doomed.get("/readyz")[0] == 200)
    (left,) = tmp_path.iterdir()
    doomed.kill()
    assert left.exists()
    alive = field.start(state_dir=tmp_path)
    field.eventually(lambda: alive.get("/healthz")[0] == 200)
    (own,) = tmp_path.iterdir()
    assert own != left
    assert alive.stop() == 0
    assert list(tmp_path.iterdir()) == []
