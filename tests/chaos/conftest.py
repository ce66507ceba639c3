"""A pipeline for each file that goes through the `headrace` command; the files of one_pipeline/ share one.

A test may kill, change and extend it, and counts only what it has added; it leaves it able to come up again.
"""

from collections.abc import Iterator

import pytest

from tests.support.aged import Aged
from tests.support.pipeline import OwnPipeline, own_copy


@pytest.fixture(scope="module")
def own_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPipeline]:
    """A pipeline of the file's own; nothing runs yet."""
    with own_copy(tmp_path_factory.mktemp("line")) as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def pipeline(own_pipeline: OwnPipeline) -> OwnPipeline:
    """Start the pipeline."""
    own_pipeline.run("up")
    return own_pipeline


@pytest.fixture
def aged(pipeline: OwnPipeline) -> Iterator[Aged]:
    """Old rows of the test's own, written into the pipeline."""
    aged = Aged(pipeline)
    yield aged
    aged.close()
