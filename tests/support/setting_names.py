"""The variables that operations/settings.py knows, and those that a command is to be given."""

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import get_args

from pydantic import BaseModel

from operations import needs
from operations.settings import PREFIX

CATALOG_LOGIN = {f"{PREFIX}CATALOG__USER", f"{PREFIX}CATALOG__PASSWORD"}


def setting_names(model: type[BaseModel], prefix: str = PREFIX) -> Iterator[str]:
    """The name of every setting in `model`."""
    for name, field in model.model_fields.items():
        full = f"{prefix}{name.upper()}"
        kinds = get_args(field.annotation) if isinstance(field.annotation, UnionType) else (field.annotation,)
        nested = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        yield from setting_names(nested, f"{full}__") if nested else (full,)


def variable(name: str) -> str:
    """`oltp.host` as a variable of the environment."""
    return PREFIX + name.upper().replace(".", "__")


def needed(command: Sequence[str]) -> set[str]:
    """The variables without which a command doesn't start."""
    return set(map(variable, needs.of(command)))


def secrets(command: Sequence[str]) -> set[str]:
    """The logins that a command is to be given, and no others."""
    found = {name for name in needed(command) if name.endswith("_PASSWORD")}
    return found | (CATALOG_LOGIN if "catalog.uri" in needs.of(command) else set())


def is_secret(name: str) -> bool:
    """Whether a variable is part of a login."""
    return name.endswith("PASSWORD") or name in CATALOG_LOGIN
