"""A soak whose load ends, or whose start fails, says so and leaves nothing running."""

from contextlib import nullcontext
from types import SimpleNamespace

import psycopg
import pytest

from schemas.errors import HeadraceError, Unavailable
from tests.soak import pipeline, shop
from tests.support.eventually import eventually


def raising(error):
    def act(*_, **__):
        raise error

    return act


def trading(monkeypatch, error):
    monkeypatch.setattr(shop.load, "load", raising(error))
    return shop.Trade(None, seed=1, rate=1, say=lambda _: None)


def marking(monkeypatch, error):
    monkeypatch.setattr(shop.migrate, "make_partitions", lambda *_: 0)
    monkeypatch.setattr(shop.connections, "catalog", lambda _: SimpleNamespace(client=nullcontext()))
    monkeypatch.setattr(shop, "write_listings", lambda *_: 0)
    monkeypatch.setattr(shop.connections, "oltp", raising(error))
    return shop.Markers(None, "run")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("start", [trading, marking])
@pytest.mark.parametrize(
    "error", [RuntimeError("a defect"), psycopg.ProgrammingError("refused"), HeadraceError("refused")], ids=repr
)
def test_what_no_retry_mends_ends_a_thread_of_the_load_and_its_stop_raises_it(monkeypatch, start, error):
    load = start(monkeypatch, error)
    eventually(lambda: not load._thread.is_alive())
    with pytest.raises(type(error), match=str(error)):
        load.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("start", [trading, marking])
def test_a_server_that_is_away_is_waited_for_and_still_being_away_at_the_stop_is_raised(monkeypatch, start):
    load = start(monkeypatch, Unavailable("away"))
    assert load._thread.is_alive()
    with pytest.raises(Unavailable, match="away"):
        load.stop()


@pytest.mark.parametrize("failing", ["up", "_prepared", "Workers", "eventually"])
def test_a_start_of_the_pipeline_that_fails_stops_what_it_had_started(monkeypatch, tmp_path, failing):
    running: list[str] = []

    def started(name, end, **rest):
        return lambda *_, **__: running.append(name) or SimpleNamespace(**{end: lambda: running.remove(name)}, **rest)

    monkeypatch.setattr(pipeline, "Network", started("network", "close", link=lambda *_, **__: None))
    monkeypatch.setattr(pipeline.supervisor, "up", started("servers", "stop", environment=dict))
    monkeypatch.setattr(pipeline.supervisor, "down", lambda *_, **__: running.remove("servers"))
    monkeypatch.setattr(pipeline, "_prepared", lambda _: None)
    monkeypatch.setattr(pipeline, "adopt", lambda _: None)
    monkeypatch.setattr(pipeline, "Workers", started("workers", "stop"))
    monkeypatch.setattr(pipeline.supervisor if failing == "up" else pipeline, failing, raising(HeadraceError("no")))
    with pytest.raises(HeadraceError, match="no"):
        pipeline.SoakPipeline(tmp_path / "stack", tmp_path)
    assert running == []
