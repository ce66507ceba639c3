"""What can go wrong in retention, beside servers that do not answer."""

from schemas.errors import HeadraceError, Unavailable


class Busy(Unavailable):
    """Somebody is at work on what is to leave from Postgres. Nothing of it has left; the next run tries again."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}. {self.__doc__}")


class Protected(HeadraceError):
    """The source keeps it, whatever is proven: it is too young, or a tenant is under a legal hold. Nothing of it has
    left."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}. Nothing of it has left. See docs/runbook.md#protected")
