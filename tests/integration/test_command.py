"""An error of the `headrace` command is one line that says what to do, and an exit code, without a traceback."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from operations.settings import Settings

WRONG, UNDECIDED = 1, 2
NOWHERE = "127.0.0.1:9"  # the discard port: nothing listens there
COMMAND_S = 120


def headrace(*arguments: str, **environment: str) -> tuple[int, str]:
    """Return the exit code and the output of both streams as one line of words."""
    done = subprocess.run(
        [sys.executable, "-m", "operations", *arguments],
        env=os.environ | environment, capture_output=True, text=True, timeout=COMMAND_S, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    return done.returncode, " ".join(said.split())


DOWN = [
    (("connectors", "plan"), "HEADRACE_CONNECT__URL", f"http://{NOWHERE}"),
    (("dlq", "ls"), "HEADRACE_KAFKA__BOOTSTRAP", NOWHERE),
    (("run", "report"), "HEADRACE_KAFKA__BOOTSTRAP", NOWHERE),
    (("run", "enrich"), "HEADRACE_KAFKA__BOOTSTRAP", NOWHERE),
    (("run", "enrich"), "HEADRACE_REGISTRY__URL", f"http://{NOWHERE}"),
    (("verify",), "HEADRACE_OLTP__PORT", "9"),
    (("verify",), "HEADRACE_REPORTING__PORT", "9"),
    (("verify",), "HEADRACE_CATALOG__URI", f"mongodb://{NOWHERE}"),
]
Answer = Callable[[], tuple[int, str]]


@pytest.fixture(scope="module")
def answers(capture: Settings) -> Iterator[list[Answer]]:
    """Run the commands of DOWN concurrently, as they mostly wait for a server."""
    with ThreadPoolExecutor(len(DOWN)) as pool:
        yield [pool.submit(headrace, *words, **{setting: value}).result for words, setting, value in DOWN]


def test_missing_settings_are_named(tmp_path: Path):
    env = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    done = subprocess.run(
        [sys.executable, "-m", "operations", "verify"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=env | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == UNDECIDED
    assert "HEADRACE_OLTP__HOST: field required" in done.stderr
    assert "headrace up" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_setting_of_the_wrong_type_is_named_with_what_was_expected(settings: Settings):
    code, said = headrace("migrate", HEADRACE_OLTP__PORT="five")
    assert code == WRONG
    assert "HEADRACE_OLTP__PORT: input should be a valid integer" in said


@pytest.mark.usefixtures("answers")  # started here, they run beside these tests
@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        (("verify",), "HEADRACE_OLTP__REPORTER_READER_PASSWORD"),
        (("verify",), "HEADRACE_REPORTING__WRITER_PASSWORD"),
        (("migrate",), "HEADRACE_OLTP__MIGRATOR_PASSWORD"),
        (("connectors", "plan"), "HEADRACE_OLTP__MIGRATOR_PASSWORD"),
        (("load", "shop", "--orders", "1"), "HEADRACE_OLTP__APP_WRITER_PASSWORD"),
        (("run", "report"), "HEADRACE_REPORTING__WRITER_PASSWORD"),
    ],
)
def test_a_wrong_password_is_one_line_that_names_its_setting(capture: Settings, arguments, setting):
    code, said = headrace(*arguments, **{setting: "wrong"})
    assert code == (UNDECIDED if arguments == ("verify",) else WRONG)  # verify's 1 means: different
    assert setting in said
    assert "wrong" not in said.replace("wrong password", "")


@pytest.mark.parametrize("number", range(len(DOWN)), ids=[f"{' '.join(words)}-{setting}" for words, setting, _ in DOWN])
def test_a_server_that_is_down_is_one_line_that_names_its_address(answers: list[Answer], number: int):
    code, said = answers[number]()
    assert code == UNDECIDED
    assert DOWN[number][2].split("//")[-1] in said


@pytest.mark.parametrize(("worker", "setting"), [("report", "HEADRACE_SINK"), ("enrich", "HEADRACE_ENRICH")])
def test_a_port_in_use_is_one_line_that_names_its_setting(capture: Settings, worker, setting):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        group = {f"{setting}__GROUP": "headrace-test-port-in-use"}
        code, said = headrace("run", worker, **group, **{f"{setting}__HTTP_PORT": port})
    assert code == WRONG
    assert port in said
    assert "HTTP_PORT" in said


def test_a_folder_without_olists_files_is_refused_before_anything_is_written(settings: Settings, tmp_path: Path):
    code, said = headrace("load", "olist", str(tmp_path))
    assert code == WRONG
    assert "products.csv: No such file or directory; expected Olist's file" in said
