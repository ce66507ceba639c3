"""`headrace epoch accept`: a person knows that nothing was lost, where the figures can't tell."""

import socket
from contextlib import closing

from rich.console import Console

from operations import connections
from operations.epoch import store
from operations.epoch.history import identify
from operations.settings import Settings
from schemas.errors import HeadraceError


def accept(settings: Settings, out: Console, reason: str) -> None:
    """Note the source's present identity as that of the newest epoch, and that this did not end. Raises HeadraceError
    where it had not ended."""
    with (
        closing(connections.report(settings, "migrator")) as report,
        closing(connections.oltp(settings, "reporter_reader")) as oltp,
    ):
        epoch = store.newest(report)
        if epoch is None or epoch.ended is None:
            raise HeadraceError("the newest epoch has not ended: there is nothing to accept")
        now = identify(oltp)
        if now.system != epoch.identity.system:
            raise HeadraceError(f"the source is another cluster (system identifier {now.system}): raise the epoch")
        store.reopen(report, epoch, now, f"{reason} (accepted on {socket.gethostname()})")
    out.print(f"epoch {epoch.number} goes on; `headrace connectors apply` starts capture", markup=False)
