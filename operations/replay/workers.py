"""Start and stop a generation's workers: processes on this machine, or instructions to the operator who runs them."""

from pathlib import Path
from typing import Protocol

from rich.console import Console

from operations.settings import PREFIX, Settings


class Workers(Protocol):
    """The workers of one generation."""

    def start(self, max_rate: float) -> None:
        """Start the workers; each takes at most `max_rate` records a second, or any number if 0."""

    def check(self) -> None:
        """Raise HeadraceError if a worker is known to have ended."""

    def unlimit(self) -> None:
        """Lift the limit on the workers' rate."""

    def stop(self) -> None:
        """Stop the workers."""


class LocalWorkers:
    """Processes beside the servers that `headrace up` started in `folder`."""

    def __init__(self, folder: Path, generation: int) -> None:
        self._folder, self._generation = folder, generation

    def start(self, max_rate: float) -> None:
        """Start the processes that do not run yet; running ones keep their limit."""
        from operations import local_workers

        local_workers.start_generation(self._folder, self._generation, max_rate)

    def check(self) -> None:
        """Raise HeadraceError if a process has ended."""
        from operations import local_workers

        local_workers.check_generation(self._folder, self._generation)

    def unlimit(self) -> None:
        """Restart the processes without a limit, if they have one."""
        from operations import local_workers

        if local_workers.is_limited(self._folder, self._generation):
            self.stop()
            self.start(0)

    def stop(self) -> None:
        """Stop the processes."""
        from operations import local_workers

        local_workers.stop_generation(self._folder, self._generation)


class ExternalWorkers:
    """Workers that the operator deploys. Their progress is visible in their consumer groups and checkpoints."""

    def __init__(self, generation: int, out: Console) -> None:
        self._generation, self._out = generation, out

    def start(self, max_rate: float) -> None:
        """Print which workers to deploy."""
        limit = f" and {PREFIX}REPORTING__MAX_RATE={max_rate:g}" if max_rate else ""
        self._print(
            f"start workers with {PREFIX}REPORTING__GENERATION={self._generation}{limit} in your deployment: "
            "`headrace run enrich`, `report` and `watch`; this command waits for them"
        )

    def check(self) -> None:
        """Do nothing, as the operator's processes can't be seen from here."""

    def unlimit(self) -> None:
        """Print which setting to remove."""
        self._print(
            f"restart the workers of generation {self._generation} without {PREFIX}REPORTING__MAX_RATE, if they have it"
        )

    def stop(self) -> None:
        """Print which workers to stop."""
        self._print(
            f"stop the workers with {PREFIX}REPORTING__GENERATION={self._generation}, and remove them from your "
            "deployment"
        )

    def _print(self, instruction: str) -> None:
        self._out.print(instruction, markup=False, soft_wrap=True)


def workers_of(settings: Settings, folder: Path, generation: int, out: Console) -> Workers:
    """Return a generation's workers: local ones if the stack in `folder` runs the pipeline of these settings."""
    try:
        from operations import local_workers
    except ImportError:  # an installation without the extra `stack` has no servers of its own
        return ExternalWorkers(generation, out)
    return (
        LocalWorkers(folder, generation) if local_workers.serves(folder, settings) else ExternalWorkers(generation, out)
    )
