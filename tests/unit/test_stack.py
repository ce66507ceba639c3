"""The stack's decisions, without a server: declarations, ports, folders, pid files, Maven's lines."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path

import psutil
import pytest

from operations.settings import Settings
from stack import interrupts, java, processes
from stack.errors import StackError
from stack.folder import PORT_NAMES, PORTS, Folder, Ports, free_port, is_free, load_passwords, write_private
from stack.postgres import Home, access, configuration
from stack.servers import SERVERS, STOP_ORDER, Layout, Server, environment


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "stack")
    folder.create()
    return folder


@pytest.fixture
def layout(folder: Folder) -> Layout:
    return Layout(
        folder=folder,
        postgres=Home(root=folder.postgres, bin=Path("/pg/bin"), user=None),
        java=Path("/jre/bin/java"),
        jars=Path("/jars"),
        caches=Path("/jars/aot"),
        ports={name: 20_000 + n for n, name in enumerate(PORT_NAMES)},
        passwords=load_passwords(folder),
        jit=False,
    )


def declared(layout: Layout) -> dict[str, Server]:
    return {name: declare(layout) for name, declare in SERVERS.items()}


def said_in_files(server: Server) -> str:
    return "\n".join(text for _, text in server.files)


# ---- declarations -------------------------------------------------------------------------------


def test_the_same_layout_gives_the_same_servers(layout: Layout) -> None:
    assert declared(layout) == declared(layout)


@pytest.mark.parametrize(
    ("moved", "affected"),
    [
        ("postgres", {"postgres", "registry", "connect"}),
        ("kafka", {"kafka", "connect"}),
        ("kafka_controller", {"kafka"}),
        ("registry", {"registry", "connect"}),
        ("registry_management", {"registry"}),
        ("catalog", {"catalog", "connect"}),
        ("connect", {"connect"}),
    ],
)
def test_a_moved_port_changes_the_servers_that_use_it_and_no_others(
    layout: Layout, moved: str, affected: set[str]
) -> None:
    ports: Mapping[str, int] = {**layout.ports, moved: 31_999}
    before, after = declared(layout), declared(replace(layout, ports=ports))
    changed = {name for name in SERVERS if before[name] != after[name]}
    assert changed == affected
    assert {name for name in SERVERS if before[name].fingerprint() != after[name].fingerprint()} == affected


def test_every_port_is_bound_by_one_server_and_every_need_is_a_server(layout: Layout) -> None:
    servers = declared(layout).values()
    assert sorted(port for server in servers for port in server.ports) == sorted(PORT_NAMES)
    assert {need for server in servers for need in server.needs} <= set(SERVERS)
    assert sorted(name for group in STOP_ORDER for name in group) == sorted(SERVERS)


def test_no_password_stands_in_a_command_or_a_file(layout: Layout) -> None:
    for server in declared(layout).values():
        public = " ".join(server.command) + said_in_files(server)
        assert not any(password in public for password in layout.passwords.values())


def test_the_measured_stack_has_the_full_compiler(layout: Layout) -> None:
    quick, measured = declared(layout)["kafka"].command, declared(replace(layout, jit=True))["kafka"].command
    assert "-XX:TieredStopAtLevel=1" in quick and "-XX:TieredStopAtLevel=1" not in measured


def test_kafka_makes_no_topic_by_itself(layout: Layout) -> None:
    assert "auto.create.topics.enable=false\n" in said_in_files(declared(layout)["kafka"])


def test_connect_hands_secrets_to_connectors_through_its_environment_only(layout: Layout) -> None:
    connect = declared(layout)["connect"]
    assert dict(connect.env)["HEADRACE_CDC_READER_PASSWORD"] == layout.passwords["cdc_reader"]
    assert "config.providers.env.param.allowlist.pattern=HEADRACE_.*\n" in said_in_files(connect)


def test_postgres_trusts_nobody_and_keeps_production_s_durability() -> None:
    assert all(line.endswith("scram-sha-256") for line in access().splitlines())
    assert not any(setting in configuration(5432) for setting in ("fsync", "synchronous_commit", "full_page_writes"))


def test_the_stack_s_settings_are_all_that_headrace_needs(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    file = tmp_path / "settings.env"
    file.write_text("".join(f"{k}={v}\n" for k, v in environment(layout.ports, layout.passwords).items()))
    settings = Settings(_env_file=file)  # type: ignore[call-arg]  # everything comes from the file
    assert settings.oltp.migrator_password.get_secret_value() == layout.passwords["migrator"]
    assert settings.kafka.bootstrap == f"127.0.0.1:{layout.ports['kafka']}"


# ---- folder -------------------------------------------------------------------------------------


def test_a_folder_with_somebody_s_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StackError, match="HEADRACE_STACK_DIR"):
        Folder(tmp_path).create()


def test_wipe_takes_the_whole_folder_and_nothing_else(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "beside").touch()
    (folder.root / "kafka").mkdir()
    folder.wipe()
    assert [path.name for path in tmp_path.iterdir()] == ["beside"]


def test_a_stack_keeps_its_identity_when_its_folder_is_moved(folder: Folder, tmp_path: Path) -> None:
    identity = folder.identity()
    moved = Folder(folder.root.rename(tmp_path / "elsewhere"))
    moved.create()
    assert moved.identity() == identity and len(identity) == 22


def test_passwords_are_kept_differ_and_are_private(folder: Folder) -> None:
    passwords = load_passwords(folder)
    assert load_passwords(folder) == passwords
    assert len(set(passwords.values())) == len(passwords)
    assert stat.S_IMODE(folder.passwords.stat().st_mode) == 0o600


def test_a_password_that_a_newer_version_needs_is_added(folder: Folder) -> None:
    write_private(folder.passwords, '{"postgres": "old"}')
    passwords = load_passwords(folder)
    assert passwords["postgres"] == "old" and passwords["cdc_reader"]


def test_ports_are_kept_and_a_replaced_one_is_new(folder: Folder) -> None:
    ports = Ports(folder)
    before = ports.current()
    assert Ports(folder).current() == before
    ports.replace(["kafka"])
    after = Ports(folder).current()
    assert after["kafka"] != before["kafka"]
    assert {name for name in PORT_NAMES if before[name] != after[name]} == {"kafka"}
    assert len(set(after.values())) == len(PORT_NAMES)


def test_a_free_port_is_one_that_can_be_bound() -> None:
    port = free_port(taken=set())
    assert port in PORTS and is_free(port)


def test_a_port_is_given_once_until_its_server_may_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_STACK_CACHE", str(tmp_path))
    few = next(range(first, first + 2) for first in PORTS if is_free(first) and is_free(first + 1))
    monkeypatch.setattr("stack.folder.PORTS", few)
    assert {free_port(taken=set()), free_port(taken=set())} == set(few)
    with pytest.raises(StackError, match="no free port"):
        free_port(taken=set())
    for reservation in (tmp_path / "ports").iterdir():
        os.utime(reservation, (0, 0))
    assert free_port(taken=set()) in few


def test_one_up_or_down_at_a_time(folder: Folder) -> None:
    with (
        folder.locked(),
        pytest.raises(StackError, match="another `headrace up` or `down`"),
        folder.locked(deadline=0),
    ):
        pass


# ---- processes ----------------------------------------------------------------------------------


@pytest.fixture
def sleeper(folder: Folder, layout: Layout) -> Iterator[Server]:
    program = "import signal, sys; print('up', flush=True); sys.stdin.read() or signal.pause()"
    server = replace(declared(layout)["catalog"], command=(sys.executable, "-c", program))
    yield server
    if running := processes.find(folder.pid_of(server.name)):
        processes.stop(running, grace=5)


def begin(folder: Folder, server: Server) -> processes.Running:
    return processes.start(server, log=folder.log_of(server.name), pid_file=folder.pid_of(server.name))


def test_a_started_server_is_found_again_and_stopped(folder: Folder, sleeper: Server) -> None:
    running = begin(folder, sleeper)
    assert processes.find(folder.pid_of(sleeper.name)) == running
    assert running.fingerprint == sleeper.fingerprint()
    assert processes.stop(running, grace=10)
    assert processes.find(folder.pid_of(sleeper.name)) is None


class InterruptedServer(Server):
    """Receives SIGTERM when its process runs and its pid file is not yet written."""

    def fingerprint(self) -> str:
        signal.raise_signal(signal.SIGTERM)
        return super().fingerprint()


def test_an_interrupt_during_a_start_leaves_no_process_without_a_pid_file(folder: Folder, sleeper: Server) -> None:
    server = InterruptedServer(**{each.name: getattr(sleeper, each.name) for each in fields(sleeper)})
    with pytest.raises(KeyboardInterrupt), interrupts.terminable():
        begin(folder, server)
    assert processes.find(folder.pid_of(server.name)) is not None


def test_a_server_that_ignores_the_signal_is_killed(folder: Folder, sleeper: Server) -> None:
    program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    running = begin(folder, replace(sleeper, command=(sys.executable, "-c", program)))
    while "up" not in folder.log_of(sleeper.name).read_text():
        assert running.process()
    assert not processes.stop(running, grace=0.1)
    assert running.process() is None


def test_a_server_whose_exit_code_nobody_collects_counts_as_stopped() -> None:
    """As where an earlier `up` has started it, and init takes its time."""
    careless = "import subprocess, sys; print(subprocess.Popen(['sleep', '60']).pid, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", careless], stdin=-1, stdout=-1, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        started = psutil.Process(pid).create_time()
        running = processes.Running(pid=pid, started=started, fingerprint="", stop_signal=signal.SIGTERM)
        assert processes.stop(running, grace=2)
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_pid_that_belongs_to_another_process_by_now_is_not_ours(folder: Folder, sleeper: Server) -> None:
    running = begin(folder, sleeper)
    assert replace(running, started=running.started - 60).process() is None


def test_a_broken_pid_file_means_not_running(folder: Folder) -> None:
    file = folder.pid_of("kafka")
    for content in ("", "{", '{"pid": 1}'):
        file.write_text(content)
        assert processes.find(file) is None


def test_a_crashed_child_is_not_taken_for_a_running_one(folder: Folder, sleeper: Server) -> None:
    running = begin(folder, replace(sleeper, command=(sys.executable, "-c", "raise SystemExit(3)")))
    psutil.wait_procs([psutil.Process(running.pid)] if psutil.pid_exists(running.pid) else [], timeout=30)
    assert running.process() is None


def test_an_interrupt_that_falls_into_a_destructor_is_not_lost() -> None:
    class Falls:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt), interrupts.terminable():
        Falls()
        threading.Event().wait(30)


# ---- Java ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[INFO] Downloading from mirror: https://example.org/m2/kafka_2.13-4.3.1.jar\n", "fetching kafka_2.13-4.3.1"),
        (
            "Downloading from mirror: https://example.org/m2/a/1/a-1-plugin.tar.gz",
            "fetching a-1-plugin, which is large",
        ),
        (
            "[INFO] Downloading from mirror: https://example.org/m2/g/kafka/4.3.1/kafka-4.3.1.pom",
            "fetching kafka-4.3.1",
        ),
        ("[INFO] --- maven-dependency-plugin:3.8.1:unpack (debezium) @ plugins ---", "unpacking debezium"),
        ("[INFO] --- dependency:3.8.1:copy-dependencies (avro-converter) @ plugins ---", "copying avro-converter"),
        ("[INFO] Downloaded from mirror: https://example.org/m2/kafka_2.13-4.3.1.jar (5 MB at 1 MB/s)", None),
        ("[INFO] BUILD SUCCESS", None),
    ],
)
def test_maven_s_output_is_told_as_progress(line: str, said: str | None) -> None:
    assert java.progress(line) == said


def test_maven_s_complaint_is_told_without_its_advice() -> None:
    assert java.complaint("\x1b[0m[ERROR] Could not create local repository -> [Help 1]") == (
        "Could not create local repository -> [Help 1]"
    )
    assert java.complaint("[ERROR] To see the full stack trace of the errors, re-run Maven with -e") is None
    assert java.complaint("[ERROR] ") is None
    assert java.complaint("[INFO] fine") is None


def test_missing_tools_are_named_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_STACK_CACHE", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match=r"Maven is missing.*apt-get install maven"):
        java.jars(print)
    program(tmp_path / "mvn", "exit 1")
    with pytest.raises(StackError, match=r"JDK.*is missing.*openjdk-17"):
        java.jars(print)
    program(tmp_path / "javac", "echo javac 11.0.2")
    with pytest.raises(StackError, match=r"version 17 or later.*11\.0\.2"):
        java.jars(print)


def test_a_failing_maven_is_quoted_and_leaves_no_half_made_jars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_STACK_CACHE", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program(tmp_path / "javac", "echo javac 21.0.1")
    program(tmp_path / "mvn", "echo '[ERROR] unknown host'; exit 1")
    with pytest.raises(StackError, match=r"unknown host.*maven\.log"):
        java.jars(print)
    assert not list(tmp_path.glob("java-*/complete"))


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    subprocess.run([path], check=False, capture_output=True)
