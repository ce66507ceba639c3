"""The manifest's log in a store: one object an entry, each put once under the next number.

A number can be given once, so of two writers one finds it taken, looks at what has come, and either goes on behind it
or learns that it may not (`Manifest.objection`). There is no lock, and no database.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, TypeVar
from uuid import uuid4

import structlog
from pydantic import TypeAdapter, ValidationError

from schemas.errors import HeadraceError
from schemas.failpoints import FailPoint, reached
from sinks.archive.manifest import ENTRY, MANIFEST, Draft, Kind, Manifest, ManifestEntry
from sinks.archive.store import Exists, Missing, Store

ENTRIES, CHECKPOINTS = "manifest/entries", "manifest/checkpoints"
CHECKPOINT_EVERY = 100  # entries; a reader reads at most this many, and one checkpoint
_LOG = structlog.get_logger("archive")
_T = TypeVar("_T")


class Superseded(HeadraceError):
    """The archive has changed in a way that leaves no room for an entry: begin again from what it is now."""


class ManifestDamaged(HeadraceError):
    """The manifest can't be relied on: an entry is not what was written. See docs/runbook.md#manifest-damaged."""


class Log:
    """The log of the archive in `store`; `by` names the writer in its entries."""

    def __init__(self, store: Store, by: str) -> None:
        self._store = store
        self._by = by
        self._manifest: Manifest | None = None
        self._mine: str | None = None  # the draft that is being committed, and its entry where that was found
        self._found: ManifestEntry | None = None

    @property
    def store(self) -> Store:
        """Where the archive is."""
        return self._store

    @property
    def by(self) -> str:
        """Who writes entries."""
        return self._by

    def manifest(self) -> Manifest:
        """What is in the archive now. Raises ManifestDamaged, ArchiveUnavailable."""
        if self._manifest is None:
            self._manifest = self._latest_checkpoint() or Manifest()
        while (entry := self._entry(self._manifest.number + 1)) is not None:
            self._manifest.apply(entry)
            if entry.draft.id == self._mine:
                self._found = entry
        return self._manifest

    def draft(self, kind: Kind, **content: Any) -> Draft:
        """An entry to commit. What it says is in `content`."""
        return Draft(id=str(uuid4()), kind=kind, by=self._by, at=datetime.now(UTC), **content)

    def commit(self, draft: Draft) -> ManifestEntry:
        """Appends an entry; when it returns, the entry is durable.

        Raises Superseded, and writes nothing, when another writer's entries leave no room for it; ManifestDamaged;
        ArchiveUnavailable, after which nobody knows whether it was written: `manifest()` tells.
        """
        if self._mine != draft.id:
            self._mine, self._found = draft.id, None
        while True:
            manifest = self.manifest()
            if self._found is not None:  # others' entries may have come behind it
                return self._found
            reason = manifest.objection(draft)
            if reason is not None:
                raise Superseded(f"the archive has changed: {reason}")
            entry = ManifestEntry(number=manifest.number + 1, draft=draft)
            try:
                self._store.put(_entry_name(entry.number), [sealed(ENTRY, entry)])
            except Exists:
                continue  # somebody else's, or ours: a bucket's client asks again when an answer was lost
            reached(FailPoint.ENTRY_PUBLISHED)
            manifest.apply(entry)
            self._found = entry
            if entry.number % CHECKPOINT_EVERY == 0:
                self._put_checkpoint(manifest)
            return entry

    def entries(
        self, on_entry: Callable[[ManifestEntry], None], on_damage: Callable[[ManifestDamaged], None] | None = None
    ) -> None:
        """Every entry from the first, for an audit. Raises ManifestDamaged for a gap as for a damaged one, or tells
        `on_damage` of each and goes on behind it; ArchiveUnavailable."""
        for number in range(1, self._written() + 1):
            try:
                entry = self._entry(number)
                if entry is None:
                    where = f"{self._store.url}/{_entry_name(number)}"
                    raise ManifestDamaged(f"{where} is missing; see docs/runbook.md#manifest-damaged")
                on_entry(entry)
            except ManifestDamaged as error:
                if on_damage is None:
                    raise
                on_damage(error)

    def _written(self) -> int:
        """The greatest number that was given: by a checkpoint's also where the last entries were lost."""
        names = [PurePosixPath(name).stem for folder in (CHECKPOINTS, ENTRIES) for name in self._store.sizes(folder)]
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def _entry(self, number: int) -> ManifestEntry | None:
        try:
            with self._store.open(_entry_name(number)) as stream:
                entry = unsealed(ENTRY, stream.read(), f"{self._store.url}/{_entry_name(number)}")
        except Missing:
            return None
        if entry.number != number:  # whole, and copied from another place
            where = f"{self._store.url}/{_entry_name(number)}"
            raise ManifestDamaged(f"{where} is entry {entry.number}; see docs/runbook.md#manifest-damaged")
        return entry

    def _put_checkpoint(self, manifest: Manifest) -> None:
        try:
            self._store.put(f"{CHECKPOINTS}/{manifest.number:020}.json", [sealed(MANIFEST, manifest)])
        except Exists:
            return
        reached(FailPoint.CHECKPOINT_PUBLISHED)

    def _latest_checkpoint(self) -> Manifest | None:
        """A damaged checkpoint costs time only: the entries say the same."""
        for name in sorted(self._store.sizes(CHECKPOINTS), reverse=True):
            try:
                with self._store.open(name) as stream:
                    return unsealed(MANIFEST, stream.read(), f"{self._store.url}/{name}")
            except ManifestDamaged as error:
                _LOG.warning("checkpoint skipped", error=str(error))
        return None


def _entry_name(number: int) -> str:
    return f"{ENTRIES}/{number:020}.json"


def sealed(adapter: TypeAdapter[Any], value: Any) -> bytes:
    """JSON with the SHA-256 of its own content, so that no flipped bit is taken for what was written."""
    content = adapter.dump_json(value)
    return b'{"sha256":"%s","content":%s}\n' % (hashlib.sha256(content).hexdigest().encode(), content)


def unsealed(adapter: TypeAdapter[_T], data: bytes, where: str) -> _T:
    """What `sealed` made of it. Raises ManifestDamaged, which names `where` it was read."""
    head, _, content = data.removesuffix(b"}\n").partition(b'","content":')
    if head.removeprefix(b'{"sha256":"').decode(errors="replace") != hashlib.sha256(content).hexdigest():
        raise ManifestDamaged(f"{where} is not what was written; see docs/runbook.md#manifest-damaged")
    try:
        return adapter.validate_json(content)
    except ValidationError as error:
        raise ManifestDamaged(f"{where} was written by another version: {error}") from None
