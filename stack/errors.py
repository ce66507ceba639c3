"""Errors of the stack that runs without Docker."""

from schemas.errors import HeadraceError


class StackError(HeadraceError):
    """A server could not be started, stopped or found; the message names it and says what to do."""
