"""The workers of a generation that is being built: processes on this machine, or the operator's where theirs run."""

from pathlib import Path
from typing import Protocol

from rich.console import Console

from operations.settings import PREFIX, Settings


class Workers(Protocol):
    """Who feeds one generation."""

    def start(self, max_rate: float) -> None:
        """Have them run; each takes at most `max_rate` records a second, 0 for no limit."""

    def check(self) -> None:
        """Raise HeadraceError where one is known to have ended."""

    def unlimit(self) -> None:
        """Let them take as much as they can."""

    def stop(self) -> None:
        """Have them ended."""


class LocalWorkers:
    """Processes beside the servers that `headrace up` started in `folder`."""

    def __init__(self, folder: Path, generation: int) -> None:
        self._folder, self._generation = folder, generation

    def start(self, max_rate: float) -> None:
        """See `Workers.start`. Those that run already go on as they are."""
        from operations import local_workers

        local_workers.start_generation(self._folder, self._generation, max_rate)

    def check(self) -> None:
        """See `Workers.check`."""
        from operations import local_workers

        local_workers.check_generation(self._folder, self._generation)

    def unlimit(self) -> None:
        """See `Workers.unlimit`."""
        from operations import local_workers

        if local_workers.is_limited(self._folder, self._generation):
            self.stop()
            self.start(0)

    def stop(self) -> None:
        """See `Workers.stop`."""
        from operations import local_workers

        local_workers.stop_generation(self._folder, self._generation)


class ExternalWorkers:
    """Workers that the operator deploys. What they do is seen in their groups and checkpoints."""

    def __init__(self, generation: int, out: Console) -> None:
        self._generation, self._out = generation, out

    def start(self, max_rate: float) -> None:
        """See `Workers.start`: says what to deploy."""
        limit = f" and {PREFIX}REPORTING__MAX_RATE={max_rate:g}" if max_rate else ""
        self._say(
            f"start workers with {PREFIX}REPORTING__GENERATION={self._generation}{limit} where yours run: "
            "`headrace run enrich`, `report` and `watch`; this command waits for them"
        )

    def check(self) -> None:
        """See `Workers.check`: nobody here knows."""

    def unlimit(self) -> None:
        """See `Workers.unlimit`."""
        self._say(
            f"start the workers of generation {self._generation} again without {PREFIX}REPORTING__MAX_RATE, if "
            "they have one"
        )

    def stop(self) -> None:
        """See `Workers.stop`."""
        self._say(
            f"end the workers with {PREFIX}REPORTING__GENERATION={self._generation}, so that nothing starts them again"
        )

    def _say(self, what: str) -> None:
        self._out.print(what, markup=False, soft_wrap=True)


def workers_of(settings: Settings, folder: Path, generation: int, out: Console) -> Workers:
    """The workers of a generation, by where the line of these settings runs."""
    try:
        from operations import local_workers
    except ImportError:  # an installation without the extra `stack` has no servers of its own
        return ExternalWorkers(generation, out)
    return (
        LocalWorkers(folder, generation) if local_workers.serves(folder, settings) else ExternalWorkers(generation, out)
    )
