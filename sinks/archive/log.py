"""The manifest's log in a store: one object for each entry, put once under the next number.

A number can be used once. Of two concurrent writers one finds its number taken, reads the other's entry, and then
either commits under the next number or is refused (`Manifest.commit_conflict`). So no lock and no database is needed.
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
    """The archive has changed in a way that conflicts with an entry: start again from the present manifest."""


class ManifestDamaged(HeadraceError):
    """An entry of the manifest is missing or differs from what was written. See docs/runbook.md#manifest-damaged."""


class Log:
    """Reads and appends the log of the archive in `store`. `by` names the writer in its entries."""

    def __init__(self, store: Store, by: str) -> None:
        self._store = store
        self._by = by
        self._manifest: Manifest | None = None
        self._mine: str | None = None  # the id of the draft being committed; its entry is _found once it was read
        self._found: ManifestEntry | None = None

    @property
    def store(self) -> Store:
        """The store that holds the archive."""
        return self._store

    @property
    def by(self) -> str:
        """The writer's name in new entries."""
        return self._by

    def manifest(self) -> Manifest:
        """Return the manifest after reading all new entries. Raises ManifestDamaged, ArchiveUnavailable."""
        if self._manifest is None:
            self._manifest = self._latest_checkpoint() or Manifest()
        while (entry := self._entry(self._manifest.number + 1)) is not None:
            self._manifest.apply(entry)
            if entry.draft.id == self._mine:
                self._found = entry
        return self._manifest

    def draft(self, kind: Kind, **content: Any) -> Draft:
        """Return a draft for `commit`; `content` has the other fields of Draft."""
        return Draft(id=str(uuid4()), kind=kind, by=self._by, at=datetime.now(UTC), **content)

    def commit(self, draft: Draft) -> ManifestEntry:
        """Append an entry; when this returns, the entry is durable. Idempotent for one draft.

        Raises:
            Superseded: another writer's entry conflicts with it. Nothing was written.
            ManifestDamaged: the manifest can't be read.
            ArchiveUnavailable: it is unknown whether the entry was written. Committing the same draft again resolves
                that, and so does reading `manifest()`.
        """
        if self._mine != draft.id:
            self._mine, self._found = draft.id, None
        while True:
            manifest = self.manifest()
            if self._found is not None:  # other writers' entries may follow it
                return self._found
            reason = manifest.commit_conflict(draft)
            if reason is not None:
                raise Superseded(f"the archive has changed: {reason}")
            entry = ManifestEntry(number=manifest.number + 1, draft=draft)
            try:
                self._store.put(_entry_name(entry.number), [with_checksum(ENTRY, entry)])
            except Exists:
                continue  # another writer's entry, or ours: a bucket's client repeats a request whose answer was lost
            reached(FailPoint.ENTRY_PUBLISHED)
            manifest.apply(entry)
            self._found = entry
            if entry.number % CHECKPOINT_EVERY == 0:
                self._put_checkpoint(manifest)
            return entry

    def entries(
        self, on_entry: Callable[[ManifestEntry], None], on_damage: Callable[[ManifestDamaged], None] | None = None
    ) -> None:
        """Call `on_entry` with every entry from the first on, for an audit.

        A missing entry counts as damaged. `on_damage` is called for each damaged one, and reading continues after it.

        Raises:
            ManifestDamaged: an entry is damaged, and there is no `on_damage`.
            ArchiveUnavailable: the archive can't be read.
        """
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
        """Return the greatest number used, also from checkpoints, in case the last entries were lost."""
        names = [PurePosixPath(name).stem for folder in (CHECKPOINTS, ENTRIES) for name in self._store.sizes(folder)]
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def _entry(self, number: int) -> ManifestEntry | None:
        try:
            with self._store.open(_entry_name(number)) as stream:
                entry = verified_content(ENTRY, stream.read(), f"{self._store.url}/{_entry_name(number)}")
        except Missing:
            return None
        if entry.number != number:  # intact, but copied from another number
            where = f"{self._store.url}/{_entry_name(number)}"
            raise ManifestDamaged(f"{where} is entry {entry.number}; see docs/runbook.md#manifest-damaged")
        return entry

    def _put_checkpoint(self, manifest: Manifest) -> None:
        try:
            self._store.put(f"{CHECKPOINTS}/{manifest.number:020}.json", [with_checksum(MANIFEST, manifest)])
        except Exists:
            return
        reached(FailPoint.CHECKPOINT_PUBLISHED)

    def _latest_checkpoint(self) -> Manifest | None:
        """Return the newest readable checkpoint. A damaged one only costs time: the entries hold the same facts."""
        for name in sorted(self._store.sizes(CHECKPOINTS), reverse=True):
            try:
                with self._store.open(name) as stream:
                    return verified_content(MANIFEST, stream.read(), f"{self._store.url}/{name}")
            except ManifestDamaged as error:
                _LOG.warning("checkpoint skipped", error=str(error))
        return None


def _entry_name(number: int) -> str:
    return f"{ENTRIES}/{number:020}.json"


def with_checksum(adapter: TypeAdapter[Any], value: Any) -> bytes:
    """Encode a value as JSON with the SHA-256 of its content, so that any changed bit is detected."""
    content = adapter.dump_json(value)
    return b'{"sha256":"%s","content":%s}\n' % (hashlib.sha256(content).hexdigest().encode(), content)


def verified_content(adapter: TypeAdapter[_T], data: bytes, where: str) -> _T:
    """Decode the output of `with_checksum`. Raises ManifestDamaged, which names the place `where` it was read."""
    head, _, content = data.removesuffix(b"}\n").partition(b'","content":')
    if head.removeprefix(b'{"sha256":"').decode(errors="replace") != hashlib.sha256(content).hexdigest():
        raise ManifestDamaged(f"{where} is not what was written; see docs/runbook.md#manifest-damaged")
    try:
        return adapter.validate_json(content)
    except ValidationError as error:
        raise ManifestDamaged(f"{where} was written by another version: {error}") from None
