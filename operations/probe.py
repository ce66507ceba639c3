"""Connect everything that a barrier asks: both sources, Kafka Connect, Kafka, and a generation of reporting."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from connectors.connect import Connect
from connectors.pipeline import Pipeline
from operations import connections, generations
from operations.barrier import PipelineProbe
from operations.settings import Settings
from schemas.generations import group
from schemas.tables import of_generation


def connect_probe(settings: Settings, generation: int | None = None) -> PipelineProbe:
    """Return a probe of the pipeline up to a generation of reporting; None means the live one.

    The caller closes it. Raises HeadraceError for a generation that was dropped.
    """
    with ExitStack() as opened:
        report = opened.enter_context(closing(connections.report(settings, generation=generation)))
        generations.refuse_dropped(report.query, report.generation)
        oltp = opened.enter_context(closing(connections.oltp(settings, "reporter_reader")))
        probe = PipelineProbe(
            pipeline=Pipeline(tables=of_generation(report.generation), replication=settings.kafka.replication),
            oltp=oltp,
            catalog=connections.catalog(settings),
            connect=Connect(settings.connect.url),
            bootstrap=settings.kafka.bootstrap,
            enrich_group=group(settings.enrich.group, report.generation),
            report=report,
        )
        opened.pop_all()  # the probe closes them
    return probe


@contextmanager
def open_probe(settings: Settings, generation: int | None = None) -> Iterator[PipelineProbe]:
    """Open a probe, as `connect_probe`, and close it at the end of the block."""
    with closing(connect_probe(settings, generation)) as probe:
        yield probe
