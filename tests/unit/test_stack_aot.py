"""Caches of the servers' classes: made once, whole, and used by every later start."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from stack import aot
from stack.errors import StackError
from stack.folder import PORT_NAMES, Folder, load_passwords
from stack.postgres import Home
from stack.servers import RECORDED, SERVERS, Declarations, Layout

OUTPUT = "-XX:AOTCacheOutput="


@pytest.fixture
def jars(tmp_path: Path) -> Path:
    jars = tmp_path / "jars"
    jars.mkdir()
    return jars


@pytest.fixture
def layout(tmp_path: Path, jars: Path) -> Layout:
    folder = Folder(tmp_path / "stack")
    folder.create()
    return Layout(
        folder=folder,
        postgres=Home(root=folder.postgres, bin=Path("/pg/bin"), user=None),
        java=Path("/jre/bin/java"),
        jars=jars,
        caches=aot.folder(jars),
        ports={name: 20_000 + number for number, name in enumerate(PORT_NAMES)},
        passwords=load_passwords(folder),
        jit=False,
    )


def commands(servers: Declarations, layout: Layout) -> Mapping[str, tuple[str, ...]]:
    return {name: declare(layout).command for name, declare in servers.items()}


def record(servers: Declarations, layout: Layout) -> None:
    """Write what each JVM would write when it ends."""
    for command in commands(servers, layout).values():
        for argument in command:
            if argument.startswith(OUTPUT):
                Path(argument.removeprefix(OUTPUT)).write_text("classes")


def test_every_cache_that_a_server_uses_is_recorded_once(layout: Layout, jars: Path) -> None:
    runs: list[Declarations] = []

    def start_and_stop(servers: Declarations) -> None:
        runs.append(servers)
        record(servers, layout)

    for _ in range(2):
        aot.make(jars, SERVERS, start_and_stop, print)
    assert len(runs) == 1
    for name, command in commands(SERVERS, layout).items():
        used = [Path(part.partition("=")[2]) for part in command if part.startswith("-XX:AOTCache=")]
        assert len(used) == (name in RECORDED), name
        assert all(path.read_text() == "classes" for path in used)


def test_a_server_that_records_differs_by_nothing_else(layout: Layout, jars: Path) -> None:
    def start_and_stop(servers: Declarations) -> None:
        for name, recording in commands(servers, layout).items():
            plain = [part for part in SERVERS[name](layout).command if "aot" not in part.lower()]
            assert [part for part in recording if not part.startswith(OUTPUT)] == plain

    aot.make(jars, SERVERS, start_and_stop, print)


def test_a_recording_that_failed_leaves_no_cache_and_is_tried_again(layout: Layout, jars: Path) -> None:
    def fails(servers: Declarations) -> None:
        record(servers, layout)
        raise StackError("kafka ended while it was starting")

    with pytest.raises(StackError):
        aot.make(jars, SERVERS, fails, print)
    assert not aot.folder(jars).exists()
    aot.make(jars, SERVERS, lambda servers: record(servers, layout), print)
    assert len(list(aot.folder(jars).iterdir())) == len(RECORDED)


def test_caches_of_another_java_are_deleted(layout: Layout, jars: Path) -> None:
    (jars / "aot-0.1").mkdir()
    aot.make(jars, SERVERS, lambda servers: record(servers, layout), print)
    assert [path for path in jars.iterdir() if path.is_dir()] == [aot.folder(jars)]
