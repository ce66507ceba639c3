"""Errors of retention."""

from schemas.errors import HeadraceError, Unavailable


class Busy(Unavailable):
    """Another session uses the rows to be deleted from Postgres. None of them was deleted; the next run tries again."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}. {self.__doc__}")


class Protected(HeadraceError):
    """The source refuses the deletion, proven or not: rows are too young, or a tenant is under a legal hold."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}. Nothing was deleted. See docs/runbook.md#protected")
