"""Errors of both sinks."""

from schemas.errors import HeadraceError


class Fatal(HeadraceError):
    """Login, permission or schema: only an operator can help."""
