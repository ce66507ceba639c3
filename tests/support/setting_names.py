"""Names of the variables that operations/settings.py reads, and those that a command needs."""

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import get_args

from pydantic import BaseModel

from operations import needs
from operations.settings import PREFIX

CATALOG_LOGIN = {f"{PREFIX}CATALOG__USER", f"{PREFIX}CATALOG__PASSWORD"}


def setting_names(model: type[BaseModel], prefix: str = PREFIX) -> Iterator[str]:
    """Yield the name of every setting in `model`."""
    for name, field in model.model_fields.items():
        full = f"{prefix}{name.upper()}"
        kinds = get_args(field.annotation) if isinstance(field.annotation, UnionType) else (field.annotation,)
        nested = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        yield from setting_names(nested, f"{full}__") if nested else (full,)


def variable(name: str) -> str:
    """Return the environment variable of a setting such as `oltp.host`."""
    return PREFIX + name.upper().replace(".", "__")


def needed(command: Sequence[str]) -> set[str]:
    """Return the variables without which a command doesn't start."""
    return set(map(variable, needs.of(command)))


def secrets(command: Sequence[str]) -> set[str]:
    """Return the variables with logins that a command needs."""
    found = {name for name in needed(command) if name.endswith("_PASSWORD")}
    return found | (CATALOG_LOGIN if "catalog.uri" in needs.of(command) else set())


def is_secret(name: str) -> bool:
    """Return whether a variable is part of a login."""
    return name.endswith("PASSWORD") or name in CATALOG_LOGIN
