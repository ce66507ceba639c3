"""Hints name the command as its caller can type it."""

import os
import sys
from pathlib import Path

import pytest

from operations.console import invocation


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / ".venv" / "bin" / "headrace"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    return program


def called(monkeypatch: pytest.MonkeyPatch, name: str | Path) -> str:
    monkeypatch.setattr(sys, "argv", [str(name)])
    return invocation("status")


def test_a_program_that_is_in_no_path_is_named_from_here(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert called(monkeypatch, ".venv/bin/headrace") == ".venv/bin/headrace status"
    assert called(monkeypatch, program) == ".venv/bin/headrace status"


def test_a_program_elsewhere_is_named_in_full(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert called(monkeypatch, program) == f"{program} status"


def test_a_program_in_the_path_is_named_alone(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    assert called(monkeypatch, program) == "headrace status"


def test_a_module_is_named_with_its_interpreter(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    assert called(monkeypatch, "/somewhere/operations/__main__.py") == ".venv/bin/python -m operations status"
