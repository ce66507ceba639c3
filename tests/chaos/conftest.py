"""One line of their own for all chaos files that go through the `headrace` command: starting one takes most of a test.

A test may kill, bend and extend it, and counts only what it has added; it leaves it able to come up again.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pipeline import Line

ROOT = Path(__file__).parents[2]
PACKAGES = ("connectors", "messaging", "migrations", "operations", "schemas", "shop", "sinks", "stack", "streams")


@pytest.fixture(scope="session")
def own_line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """The project's packages copied, so that docs/your-tables.md can be followed to the letter.

    Its first `up` is refused: with what that has left in the folder, the next one has to go on.
    """
    line = Line(folder=tmp_path_factory.mktemp("line"))
    for package in PACKAGES:
        shutil.copytree(ROOT / package, line.folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    try:
        line.run("up", expect=1, HEADRACE_SINK__BATCH="0")
        yield line
    finally:
        line.run("down", "--wipe")


@pytest.fixture(scope="module")
def line(own_line: Line) -> Line:
    """The line, up, whatever the file before has done to it."""
    own_line.run("up")
    return own_line
