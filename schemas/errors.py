"""Errors as types, so that a worker decides by class, never by text, whether to retry, dead-letter or stop."""

from typing import ClassVar


class HeadraceError(Exception):
    """An error that an operator has to know about. The message says where, what was expected and what to do.

    `entry` is the anchor of the error's entry in docs/runbook.md, for an error that is stored as a dead letter.
    """

    entry: str | None = None
    exit_code: ClassVar[int] = 1
    """The exit code of a process that ends with this error."""


class Unavailable(HeadraceError):
    """A server did not answer in time. A retry may help, and the record stays unacknowledged until then."""

    exit_code = 2


class BadRecord(HeadraceError):
    """A record that no retry can decode. It becomes a dead letter with this message.

    `field` names the column or header at fault, if there is one. `entry` is the anchor of its entry in docs/runbook.md.
    """

    entry: str

    def __init__(self, message: str, *, field: str | None = None, entry: str = "record-not-understood") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.entry = entry


class Unproven(HeadraceError):
    """The rows to delete are not those that were proven, so nothing was deleted. See docs/runbook.md#unproven."""

    def __init__(self, difference: str) -> None:
        super().__init__(f"{difference}. {self.__doc__}")
