"""What can go wrong in retention, beside servers that do not answer."""

from schemas.errors import HeadraceError, Unavailable


class Unproven(HeadraceError):
    """Postgres holds something else than what was proven, so nothing of it has left; the next run proves it anew."""

    def __init__(self, difference: str) -> None:
        super().__init__(f"{difference}. {self.__doc__}")


class Busy(Unavailable):
    """Somebody is at work on what is to leave from Postgres. Nothing of it has left; the next run tries again."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}. {self.__doc__}")
