"""`headrace status` names the parts that are down, and shows the others."""

import os
import subprocess
import sys
from pathlib import Path

import orjson

from operations.settings import Settings

ROOT = Path(__file__).parents[2]
NOWHERE = "127.0.0.1:9"  # the discard port: nothing listens there
WRONG = 1
COMMAND_S = 120


def status(*arguments: str, path: str = "", **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "operations", "status", *arguments],
        env=os.environ | environment | {"PYTHONPATH": f"{path}{os.pathsep}{ROOT}"},
        capture_output=True, text=True, timeout=COMMAND_S, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def test_without_settings_it_says_so(tmp_path: Path):
    bare = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    done = subprocess.run(
        [sys.executable, "-m", "operations", "status"], cwd=tmp_path, env=bare | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == WRONG
    assert "headrace up" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_server_that_is_down_hides_nothing_but_its_own_part(capture: Settings, stack_folder: Path):
    code, said = status("--json", HEADRACE_STACK_DIR=str(stack_folder), HEADRACE_CONNECT__URL=f"http://{NOWHERE}")
    found = orjson.loads(said)
    assert code == WRONG
    assert NOWHERE in found["wrong"]["connectors"]
    assert [server["name"] for server in found["servers"]] == ["postgres", "kafka", "registry", "catalog", "connect"]
    assert [stage["name"] for stage in found["stages"]] == ["captured", "enriched", "landed"]
    assert found["dead_letters"] >= 0


def test_everything_down_is_said_line_by_line_also_without_psutil(tmp_path: Path, settings: Settings):
    (tmp_path / "psutil.py").write_text("raise ModuleNotFoundError('psutil')")  # as where the extra `stack` is missing
    code, said = status(
        path=str(tmp_path), COLUMNS="200", HEADRACE_STACK_DIR=str(tmp_path), HEADRACE_OLTP__PORT="9",
        HEADRACE_KAFKA__BOOTSTRAP=NOWHERE, HEADRACE_CONNECT__URL=f"http://{NOWHERE}",
    )  # fmt: skip
    assert code == WRONG
    for part in ("connectors", "stages", "dead letters"):
        assert any(line.startswith(part) and "no answer" in line for line in said.splitlines()), said
