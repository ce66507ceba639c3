"""Record which settings a command reads, so that a test can compare them with operations/needs.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import BaseModel

from operations.needs import NEEDS
from operations.settings import Settings

REQUIRED = frozenset(name for names in NEEDS.values() for name in names)  # by some command: settings without a default


@contextmanager
def recorded_reads() -> Iterator[set[str]]:
    """Yield the set of the required settings (`oltp.host`) that are read while the block runs.

    The check at a command's start, `Settings.require`, does not count as reading.
    """
    reads: set[str] = set()
    checking: list[None] = []
    with pytest.MonkeyPatch.context() as patch:
        for section, field in Settings.model_fields.items():
            assert isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            patch.setattr(field.annotation, "__getattribute__", _recording(section, field.annotation, reads, checking))
        patch.setattr(Settings, "require", _uncounted(Settings.require, checking))
        yield reads


def _recording(section: str, model: type[BaseModel], reads: set[str], checking: list[None]) -> Any:
    original = model.__getattribute__

    def read(self: BaseModel, name: str) -> Any:
        if not checking and f"{section}.{name}" in REQUIRED:
            reads.add(f"{section}.{name}")
        return original(self, name)

    return read


def _uncounted(require: Any, checking: list[None]) -> Any:
    def check(self: Settings, *names: str) -> None:
        checking.append(None)
        try:
            require(self, *names)
        finally:
            checking.pop()

    return check
