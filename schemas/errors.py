"""What can go wrong, as types: a worker decides by class, never by text, whether to retry, dead-letter or stop."""


class HeadraceError(Exception):
    """Something that an operator has to know; the message says where, what was expected and what to do.

    `entry` is the anchor of the error's entry in docs/runbook.md, for an error that is stored as a dead letter.
    """

    entry: str | None = None


class Unavailable(HeadraceError):
    """A server did not answer in time. Worth another try; the record stays unacknowledged until then."""


class BadRecord(HeadraceError):
    """A record that no retry will make understandable: it goes to the dead letters, with this message.

    `field` names the column or header at fault, where one is. `entry` is the anchor of its entry in docs/runbook.md.
    """

    entry: str

    def __init__(self, message: str, *, field: str | None = None, entry: str = "record-not-understood") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.entry = entry


class Unproven(HeadraceError):
    """What is to leave a store is not what was proven, so nothing of it has left. See docs/runbook.md#unproven."""

    def __init__(self, difference: str) -> None:
        super().__init__(f"{difference}. {self.__doc__}")
