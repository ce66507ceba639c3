"""A pipeline for each file that goes through the `headrace` command: starting one takes most of a test.

A test may kill, change and extend it, and counts only what it has added; it leaves it able to come up again.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pipeline import OwnPipeline

ROOT = Path(__file__).parents[2]
PACKAGES = ("connectors", "messaging", "migrations", "operations", "schemas", "shop", "sinks", "stack", "streams")


@pytest.fixture(scope="module")
def own_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPipeline]:
    """Copy the project's packages, so that docs/your-tables.md can be followed to the letter; nothing runs yet."""
    pipeline = OwnPipeline(folder=tmp_path_factory.mktemp("line"))
    for package in PACKAGES:
        shutil.copytree(ROOT / package, pipeline.folder / package)
    try:
        yield pipeline
    finally:
        stopped = pipeline.run("down", "--wipe")
    assert "killed" not in stopped


@pytest.fixture(scope="module")
def pipeline(own_pipeline: OwnPipeline) -> OwnPipeline:
    """Start the pipeline."""
    own_pipeline.run("up")
    return own_pipeline
