"""Decode only the needed fields of Avro bodies, with straight-line Python compiled once for each schema.

A change's envelope has some sixty fields, of which a third is read: `before` repeats the row, and most of `source`
never changes. fastavro reads all of them. It is slower still when a reader's schema leaves some out, because it
resolves the two schemas again for every record (docs/decisions/0007-landing.md has the numbers). This module knows the
types that Debezium and Headrace's producers write. fastavro decodes any other schema.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

Schema = Any
Read = Callable[[bytes, int], tuple[dict[str, Any], int]]

_EXACT = Context(prec=100)  # the default context would round beyond 28 digits
_EPOCH_DAY = date(1970, 1, 1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Unsupported(Exception):
    """The schema has a type that this compiler does not know."""


class Malformed(Exception):
    """The bytes are not what the schema says."""


Wanted = Mapping[str, "Wanted | None"]


def compile_reader(schema: Schema, wanted: Wanted | None) -> Read:
    """Return a function (bytes, position) → (record, next position) that decodes the `wanted` fields of a schema.

    None means all fields; a nested mapping selects fields of a nested record. The function raises Malformed,
    IndexError, UnicodeDecodeError or OverflowError for bytes that do not fit. It may read past the end: compare the
    position.

    Raises:
        Unsupported: The schema has types that this module does not know.
    """
    writer = _Writer()
    writer.line(0, "def read(buf, p):")
    result = writer.record(1, _record(schema), wanted)
    writer.line(1, f"return {result}, p")
    scope: dict[str, Any] = {
        "varint": _varint,
        "length": _length,
        "Malformed": Malformed,
        "decimal": _decimal,
        "day": _day,
        "instant": _instant,
    }
    exec(compile("\n".join(writer.lines), "<avro reader>", "exec"), scope)  # noqa: S102  # names are quoted below
    read: Read = scope["read"]
    return read


class _Writer:
    """The generated function's lines. Every method appends code that moves `p`, and returns an expression."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._names: dict[str, Schema] = {}
        self._open: list[str] = []
        self._count = 0

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def record(self, depth: int, schema: Schema, wanted: Wanted | None) -> str:
        name = schema["name"]
        if name in self._open:
            raise Unsupported(f"{name} holds itself")
        self._names |= {name: schema, f"{schema.get('namespace', '')}.{name}": schema}
        self._open.append(name)
        fields = []
        for field in schema["fields"]:
            if wanted is not None and field["name"] not in wanted:
                self.skip(depth, field["type"])
                continue
            narrowed = None if wanted is None else wanted[field["name"]]
            fields.append(f"{field['name']!r}: {self.value(depth, field['type'], narrowed)}")
        self._open.pop()
        return "{" + ", ".join(fields) + "}"

    def value(self, depth: int, type_: Schema, wanted: Wanted | None = None) -> str:
        type_ = self._resolved(type_)
        if isinstance(type_, list):
            return self._union(depth, type_, wanted)
        if type_["type"] == "record":
            return self.record(depth, type_, wanted)
        name = self._fresh()
        self._read(depth, name, type_)
        return name

    def skip(self, depth: int, type_: Schema) -> None:
        type_ = self._resolved(type_)
        if isinstance(type_, list):
            self._branches(depth, type_, self.skip)
            return
        match type_["type"]:
            case "record":
                self.record(depth, type_, {})
            case "null":
                self.line(depth, "pass")
            case "boolean":
                self.line(depth, "p += 1")
            case "int" | "long":
                self.line(depth, "while buf[p] > 127: p += 1")
                self.line(depth, "p += 1")
            case "string" | "bytes":
                self.line(depth, "n = buf[p]")
                self.line(depth, "if n & 129: n, p = length(buf, p); p += n")
                self.line(depth, "else: p += (n >> 1) + 1")
            case other:
                raise Unsupported(str(other))

    def _union(self, depth: int, branches: list[Schema], wanted: Wanted | None) -> str:
        name = self._fresh()

        def read(inner: int, branch: Schema) -> None:
            self.line(inner, f"{name} = {self.value(inner, branch, wanted)}")

        self._branches(depth, branches, read)
        return name

    def _branches(self, depth: int, branches: list[Schema], each: Callable[[int, Schema], None]) -> None:
        # A branch's index is a zigzag number; unions of more than 64 branches do not occur here.
        self.line(depth, "b = buf[p]; p += 1")
        for index, branch in enumerate(branches):
            self.line(depth, f"{'elif' if index else 'if'} b == {2 * index}:")
            each(depth + 1, branch)
        self.line(depth, "else: raise Malformed(f'branch {b} of a union')")

    def _read(self, depth: int, name: str, type_: Schema) -> None:
        match type_["type"], type_.get("logicalType"):
            case "null", None:
                self.line(depth, f"{name} = None")
            case "boolean", None:
                self.line(depth, f"{name} = buf[p] == 1; p += 1")
            case "string", None:
                self._length(depth)
                self.line(depth, f"n += p; {name} = buf[p:n].decode(); p = n")
            case "bytes", "decimal":
                self._length(depth)
                self.line(depth, f"{name} = decimal(buf[p:p + n], {-int(type_.get('scale', 0))}); p += n")
            case "bytes", None:
                self._length(depth)
                self.line(depth, f"{name} = buf[p:p + n]; p += n")
            case (("int" | "long"), logical):
                self._number(depth, name, logical)
            case other:
                raise Unsupported(str(other))

    def _number(self, depth: int, name: str, logical: str | None) -> None:
        self.line(depth, f"{name} = buf[p]; p += 1")
        self.line(depth, f"if {name} > 127: {name}, p = varint(buf, p - 1)")
        self.line(depth, f"{name} = ({name} >> 1) ^ -({name} & 1)")
        convert = {None: None, "date": "day", "timestamp-micros": "instant"}
        if logical not in convert:
            raise Unsupported(logical)
        if convert[logical]:
            self.line(depth, f"{name} = {convert[logical]}({name})")

    def _length(self, depth: int) -> None:
        """Emit code that reads a length into `n` and moves `p` past it."""
        # One byte, and neither negative (bit 0) nor continued (bit 7): nearly always.
        self.line(depth, "n = buf[p]")
        self.line(depth, "if n & 129: n, p = length(buf, p)")
        self.line(depth, "else: n >>= 1; p += 1")

    def _resolved(self, type_: Schema) -> Schema:
        if isinstance(type_, str):
            return self._names.get(type_, {"type": type_})
        if isinstance(type_, dict) and isinstance(type_["type"], dict):
            return self._resolved(type_["type"])
        return type_

    def _fresh(self) -> str:
        self._count += 1
        return f"v{self._count}"


def _record(schema: Schema) -> Schema:
    if isinstance(schema, dict) and schema.get("type") == "record":
        return schema
    raise Unsupported("not a record")


def _varint(buf: bytes, p: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = buf[p]
        p += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, p
        shift += 7
        if shift > 63:
            raise Malformed("a number of more than 64 bits")


def _length(buf: bytes, p: int) -> tuple[int, int]:
    value, p = _varint(buf, p)
    if value & 1 or value >> 1 > len(buf) - p:
        raise Malformed(f"a length of {(value >> 1) ^ -(value & 1)} bytes")
    return value >> 1, p


def _decimal(unscaled: bytes, exponent: int) -> Decimal:
    return _EXACT.scaleb(Decimal(int.from_bytes(unscaled, "big", signed=True)), exponent)


def _day(days: int) -> date:
    return _EPOCH_DAY + timedelta(days=days)


def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
