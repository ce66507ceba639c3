"""The type of a statement with its parameters, which SQL modules return and connections run."""

from collections.abc import Sequence

Query = tuple[str, Sequence[object]]
