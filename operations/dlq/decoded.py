"""A record's bytes as far as they can be read: Avro through the registry, JSON, text, else hexadecimal; bounded."""

from typing import Any

import orjson

from messaging.registry import Registry
from schemas.errors import HeadraceError

MOST = 4_000  # characters of a value that are shown


def value(raw: bytes | None, registry: Registry) -> Any:
    """A value for a reader: the datum where it is Avro that the registry knows, else as `plain` reads it."""
    if raw is None:
        return None
    try:
        return registry.decode(raw)
    except HeadraceError:
        return plain(raw)


def plain(raw: bytes | None) -> Any:
    """JSON where it is that, else text, where all of it can be printed, else hexadecimal."""
    if raw is None:
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = ""
    return bounded(text if text.isprintable() and text else f"0x{raw[:MOST].hex()}")


def bounded(text: str) -> str:
    """At most MOST characters, and how many there are more."""
    return text if len(text) <= MOST else f"{text[:MOST]}… ({len(text) - MOST:,} more)"


def as_json(value: Any) -> bytes:
    """A decoded value as JSON; decimals and the like as text."""
    return orjson.dumps(value, default=_text, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)


def _text(value: Any) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)


def compact(value: Any) -> str:
    """A decoded value in one line."""
    return orjson.dumps(value, default=_text, option=orjson.OPT_NON_STR_KEYS).decode()
