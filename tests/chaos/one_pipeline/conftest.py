"""One pipeline for the files of this folder, whose tests leave its code, capture and generations as they are.

To start a pipeline takes more of the processor than most of these tests.
"""

from collections.abc import Iterator

import pytest

from tests.support.pipeline import OwnPipeline, own_copy


@pytest.fixture(scope="package")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPipeline]:
    """Start the pipeline."""
    with own_copy(tmp_path_factory.mktemp("line")) as pipeline:
        pipeline.run("up")
        yield pipeline
