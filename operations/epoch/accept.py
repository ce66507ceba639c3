"""Continue an epoch that had ended: `headrace epoch accept`, when the operator knows that no change was lost."""

import socket
from contextlib import closing

from rich.console import Console

from operations import connections
from operations.epoch import store
from operations.epoch.history import read_identity
from operations.settings import Settings
from schemas.errors import HeadraceError


def accept(settings: Settings, out: Console, reason: str) -> None:
    """Record the source's present identity as that of the newest epoch, and that this epoch has not ended.

    Raises:
        HeadraceError: The epoch had not ended, or the source is another cluster.
    """
    with (
        closing(connections.report(settings, "migrator")) as report,
        closing(connections.oltp(settings, "reporter_reader")) as oltp,
    ):
        epoch = store.newest(report)
        if epoch is None or epoch.ended is None:
            raise HeadraceError("the newest epoch has not ended: there is nothing to accept")
        now = read_identity(oltp)
        if now.system != epoch.identity.system:
            raise HeadraceError(f"the source is another cluster (system identifier {now.system}): raise the epoch")
        store.reopen(report, epoch, now, f"{reason} (accepted on {socket.gethostname()})")
    out.print(f"epoch {epoch.number} continues; `headrace connectors apply` starts capture", markup=False)
