"""What can go wrong in retention, beside servers that do not answer."""

from schemas.errors import Unavailable


class Busy(Unavailable):
    """Somebody is at work on what is to leave from Postgres. Nothing of it has left; the next run tries again."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}. {self.__doc__}")
