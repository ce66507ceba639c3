"""Define a statement with its parameters, which the dialect functions return and a session runs."""

from collections.abc import Sequence

Query = tuple[str, Sequence[object]]
