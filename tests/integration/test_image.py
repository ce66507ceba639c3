"""The Dockerfile's Python part works, performed on this machine with the files of its build context."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.compose import ROOT

SENT = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the folder that is /opt/headrace in the image."""
    place = tmp_path_factory.mktemp("image")
    source = place / "source"
    source.mkdir()
    for name in SENT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    command = re.search(r"^RUN (uv build .*?)\n\n", (ROOT / "Dockerfile").read_text(), re.DOTALL | re.MULTILINE)
    assert command is not None
    script = command[1].replace("/wheel", f"{place}/wheel").replace("/opt/headrace", f"{place}/headrace")
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=source,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "headrace"


def test_every_package_in_it_is_the_locked_one(installed: Path) -> None:
    listed = subprocess.run(
        [BIN / "uv", "pip", "freeze", "--python", installed / "bin" / "python"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    ours, others = [[line for line in listed if line.startswith("headrace") == mine] for mine in (True, False)]
    locked = set(re.findall(r"^([\w.-]+==\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert len(ours) == 1
    assert others
    assert set(others) <= locked


@pytest.mark.parametrize("command", ["--help", "run --help", "demo --help"])
def test_the_command_runs_without_what_only_developers_have(installed: Path, command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [installed / "bin" / "headrace", *command.split()],
        cwd=tmp_path,
        env={"PATH": "/nowhere"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_services_import_is_in_it(installed: Path, tmp_path: Path) -> None:
    code = """
import operations.capture, operations.demo.run, operations.load, operations.migrate, operations.status.screen
import operations.verify.run
import s3fs, sinks.reporting.sqlserver.driver, sinks.archive.worker, sinks.reporting.worker, streams.app
from operations import odbc
odbc.driver()
"""
    done = subprocess.run(
        [installed / "bin" / "python", "-c", code], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
