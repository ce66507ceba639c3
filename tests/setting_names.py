"""The variables that operations/settings.py knows."""

from collections.abc import Iterator
from types import UnionType
from typing import get_args

from pydantic import BaseModel

from operations.settings import PREFIX


def setting_names(model: type[BaseModel], prefix: str = PREFIX, *, required_only: bool = False) -> Iterator[str]:
    """The name of every setting in `model`, or of those without a default."""
    for name, field in model.model_fields.items():
        full = f"{prefix}{name.upper()}"
        if required_only and not field.is_required():
            continue
        kinds = get_args(field.annotation) if isinstance(field.annotation, UnionType) else (field.annotation,)
        nested = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        yield from setting_names(nested, f"{full}__", required_only=required_only) if nested else (full,)


def required(model: type[BaseModel]) -> Iterator[str]:
    """The settings without which `headrace` doesn't start."""
    return setting_names(model, required_only=True)
