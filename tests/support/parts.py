"""The parts of the tests that run side by side: `make test` runs several processes, each with servers of its own.

Tests of one part run one after another in one process, as they share what is slow to make. Each file is a part, and so
are the folders of `SHARING`.
"""

import os
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).parents[1]
SQLSERVER = os.environ.get("HEADRACE_TEST_SQLSERVER")
SHARING = ("contract", "retention_source", "one_pipeline")
LONGEST_FIRST = ("test_pipeline", "one_pipeline", "test_epoch", "test_replay", "test_demo", "contract")


def part_of(path: Path) -> str:
    """Return the part that a test file belongs to. All that use the T-SQL server are one part, as there is only one."""
    uses_sqlserver = path.parent.name == "contract" or path.stem == "test_compose_commands" or "sqlserver" in path.stem
    if SQLSERVER and uses_sqlserver:
        return "contract"
    return path.parent.name if path.parent.name in SHARING else path.stem


def place_of(item: pytest.Item) -> tuple[bool, int]:
    """Return where a test runs: the longest parts start first, so that all processes end at about the same time.

    Files called *_harm.py stop, kill or misconfigure what others use: they run last.
    """
    part = part_of(item.path)
    rank = LONGEST_FIRST.index(part) if part in LONGEST_FIRST else len(LONGEST_FIRST)
    return item.path.stem.endswith("_harm"), rank


class PartScheduling(LoadScopeScheduling):
    """Give each process a whole part at a time."""

    def _split_scope(self, nodeid: str) -> str:
        file, *_ = nodeid.split("::")
        return part_of(TESTS.parent / file)
