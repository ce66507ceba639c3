"""Connect everything that a barrier asks: both sources, Kafka Connect, Kafka, and a generation of reporting."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from connectors.connect import Connect
from connectors.pipeline import Pipeline
from operations import connections, generations
from operations.barrier import PipelineProbe
from operations.settings import Settings
from schemas.errors import HeadraceError
from schemas.generations import group
from schemas.tables import of_generation


def connect_probe(settings: Settings, generation: int | None = None) -> PipelineProbe:
    """Return a probe of the pipeline up to a generation of reporting; None means the live one.

    The caller closes it. Raises HeadraceError for a generation that was dropped.
    """
    report = connections.report(settings, generation=generation)
    try:
        generations.refuse_dropped(report.query, report.generation)
    except HeadraceError:
        report.close()
        raise
    return PipelineProbe(
        pipeline=Pipeline(tables=of_generation(report.generation), replication=settings.kafka.replication),
        oltp=connections.oltp(settings, "reporter_reader"),
        catalog=connections.catalog(settings),
        connect=Connect(settings.connect.url),
        bootstrap=settings.kafka.bootstrap,
        enrich_group=group(settings.enrich.group, report.generation),
        report=report,
    )


@contextmanager
def open_probe(settings: Settings, generation: int | None = None) -> Iterator[PipelineProbe]:
    """Open a probe, as `connect_probe`, and close it at the end of the block."""
    with closing(connect_probe(settings, generation)) as probe:
        yield probe
