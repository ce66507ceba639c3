"""Decode a record's bytes for display: Avro through the registry, else JSON, text or hexadecimal, of bounded length."""

from typing import Any

import orjson

from messaging.registry import Registry
from schemas.errors import HeadraceError

MOST = 4_000  # characters of a value that are shown


def value(raw: bytes | None, registry: Registry) -> Any:
    """Decode a value as Avro where the registry knows its schema, else as `plain` does. None stays None."""
    if raw is None:
        return None
    try:
        return registry.decode(raw)
    except HeadraceError:
        return plain(raw)


def plain(raw: bytes | None) -> Any:
    """Decode bytes as JSON, else as text where all of it is printable, else as hexadecimal. None stays None."""
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
    """Cut a text to MOST characters and append how many were cut off."""
    return text if len(text) <= MOST else f"{text[:MOST]}… ({len(text) - MOST:,} more)"


def as_json(value: Any) -> bytes:
    """Encode a decoded value as indented JSON; types that JSON lacks become text."""
    return orjson.dumps(value, default=_text, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)


def _text(value: Any) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)


def compact(value: Any) -> str:
    """Encode a decoded value as JSON on one line."""
    return orjson.dumps(value, default=_text, option=orjson.OPT_NON_STR_KEYS).decode()
