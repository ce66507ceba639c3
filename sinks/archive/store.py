"""Where the archive lies: a folder on this machine, or a bucket through fsspec. Objects are put once, whole, and never
changed; what `put` has returned from survives a crash.

fsspec's local files know neither a sync nor a name that is given once, so a folder is written to by hand.
"""

import contextlib
import io
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

import fsspec

from schemas.errors import HeadraceError, Unavailable
from schemas.failpoints import FailPoint, reached

TEMPORARY = ".tmp"
READ_BYTES = 1 << 20  # at once


class ArchiveUnavailable(Unavailable):
    """The archive can't be written or read now: a full disk, a bucket out of reach. Nothing is lost by waiting."""


class Exists(HeadraceError):
    """An object of that name is there already: somebody else was first."""


class Missing(HeadraceError):
    """There is no object of that name."""


class Store(Protocol):
    """Objects by name, `/` between the parts of a name."""

    @property
    def url(self) -> str:
        """Where it is, as the setting says."""

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        """Stores an object, all or nothing, durably. Raises Exists, ArchiveUnavailable."""

    def open(self, name: str) -> BinaryIO:
        """The object's bytes as a stream. Raises Missing, ArchiveUnavailable."""

    def sizes(self, folder: str) -> dict[str, int]:
        """The names below `folder`, sorted, with their sizes in bytes. Raises ArchiveUnavailable."""

    def delete(self, name: str) -> None:
        """Deletes an object; one that is not there is no error. Raises ArchiveUnavailable."""


def open_store(url: str, endpoint: str | None = None) -> Store:
    """The store that a setting names: a path or file:// is a folder, anything else is fsspec's (s3://, abfs://, gs://).

    `endpoint` is the address of an S3 that isn't Amazon's. Raises HeadraceError where the package for that kind of
    bucket is not installed.
    """
    scheme = urlsplit(url).scheme
    if scheme in ("", "file"):
        return LocalStore(Path(url.removeprefix("file://")))
    return ObjectStore(url, endpoint)


class LocalStore:
    """A folder. An object gets its name by a link from its temporary one once its bytes are synced."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return str(self._root)

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        """See `Store.put`."""
        target, temporary = self._root / name, self._root / TEMPORARY / str(uuid4())
        with as_unavailable(self.url):
            temporary.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write(temporary, chunks)
                made = _make_folder(target.parent)
                os.link(temporary, target)  # unlike a rename it refuses a name that is taken
                for folder in {target.parent, *(each.parent for each in made)}:
                    _sync_folder(folder)
                reached(FailPoint.FILE_NAMED)
            finally:
                temporary.unlink(missing_ok=True)

    def open(self, name: str) -> BinaryIO:
        """See `Store.open`."""
        with as_unavailable(self.url):
            return _reading((self._root / name).open("rb", buffering=0), self.url)

    def sizes(self, folder: str) -> dict[str, int]:
        """See `Store.sizes`."""
        sizes: dict[str, int] = {}
        with as_unavailable(self.url):
            for path in sorted((self._root / folder).rglob("*")):
                with contextlib.suppress(FileNotFoundError):  # somebody has deleted it since it was listed
                    found, name = path.stat(), path.relative_to(self._root).as_posix()
                    if stat.S_ISREG(found.st_mode) and not name.startswith(f"{TEMPORARY}/"):
                        sizes[name] = found.st_size
        return sizes

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        with as_unavailable(self.url):
            (self._root / name).unlink(missing_ok=True)

    def delete_temporary(self, before: datetime) -> dict[str, int]:
        """Deletes what killed writers have left under temporary names and nobody has written to since `before`; returns
        names and sizes. Raises ArchiveUnavailable."""
        deleted: dict[str, int] = {}
        with as_unavailable(self.url):
            for path in (self._root / TEMPORARY).glob("*"):
                try:
                    if path.is_file() and path.stat().st_mtime < before.timestamp():
                        deleted[f"{TEMPORARY}/{path.name}"] = path.stat().st_size
                        path.unlink()
                except FileNotFoundError:  # its writer has just given it its name
                    continue
        return deleted


class ObjectStore:
    """A bucket, or a folder of one. An object appears when its upload has ended, and only where there is none.

    The manifest rests on that, and not every storage that speaks S3 keeps to it: the first `put` tries it out.
    """

    def __init__(self, url: str, endpoint: str | None = None) -> None:
        self._url = url.rstrip("/")
        options = {"endpoint_url": endpoint} if endpoint else {}
        try:
            # Listings are never cached: somebody else writes, too.
            self._files, self._root = fsspec.core.url_to_fs(self._url, use_listings_cache=False, **options)
        except ImportError as error:
            raise HeadraceError(f"{url}: {error}; s3:// comes with `pip install 'headrace[s3]'`") from None
        except ValueError as error:
            raise HeadraceError(f"{url}: {error}; check HEADRACE_ARCHIVE__URL") from None
        self._proven = False

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return self._url

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        """See `Store.put`."""
        if not self._proven:
            self._prove()
        self._put(name, chunks)

    def _prove(self) -> None:
        """Returns when a name can be given once only. Raises HeadraceError where it can be given again."""
        name = f"{TEMPORARY}/{uuid4()}"
        self._put(name, [b"once"])
        try:
            self._put(name, [b"again"])
        except Exists:
            self._proven = True
        finally:
            self.delete(name)
        if not self._proven:
            raise HeadraceError(
                f"{self.url}: here an object can replace another, so that two writers would lose each other's entries: "
                "the storage must know If-None-Match. See docs/decisions/0009-archive.md"
            )

    def _put(self, name: str, chunks: Iterable[bytes]) -> None:
        with as_unavailable(self.url), tempfile.NamedTemporaryFile(prefix="headrace-") as whole:
            whole.writelines(chunks)
            whole.flush()
            reached(FailPoint.FILE_WRITTEN)
            self._files.put_file(whole.name, self._path(name), mode="create")
            reached(FailPoint.FILE_NAMED)

    def open(self, name: str) -> BinaryIO:
        """See `Store.open`."""
        with as_unavailable(self.url):
            stream = self._files.open(self._path(name), "rb", block_size=READ_BYTES, cache_type="readahead")
            return _reading(stream, self.url)

    def sizes(self, folder: str) -> dict[str, int]:
        """See `Store.sizes`."""
        with as_unavailable(self.url):
            found = self._files.find(self._path(folder), detail=True)
        return {path[len(self._root) + 1 :]: int(each["size"]) for path, each in sorted(found.items())}

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        with as_unavailable(self.url):
            try:
                self._files.rm_file(self._path(name))
            except FileNotFoundError:
                return

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


@contextmanager
def as_unavailable(url: str) -> Iterator[None]:
    """A file system's errors by what they mean to us: only time or an operator helps, whatever it is."""
    try:
        yield
    except FileExistsError as error:
        raise Exists(f"{url}: {error}") from None
    except FileNotFoundError as error:
        raise Missing(f"{url}: {error}") from None
    except HeadraceError:
        raise
    except Exception as error:  # each bucket's client has errors of its own
        said = f"{type(error).__name__} {error}" if not isinstance(error, OSError) else str(error)
        raise ArchiveUnavailable(
            f"the archive at {url} can't be used: {said}. See docs/runbook.md#archive-unavailable"
        ) from error


class _Reading(io.RawIOBase):
    """A stream whose errors while it is read are ArchiveUnavailable, so that any other error is about what it holds."""

    def __init__(self, stream: Any, url: str) -> None:
        self._stream = stream
        self._url = url

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with as_unavailable(self._url):
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _reading(stream: Any, url: str) -> BinaryIO:
    return io.BufferedReader(_Reading(stream, url), READ_BYTES)


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    with path.open("xb") as file:
        file.writelines(chunks)
        file.flush()
        reached(FailPoint.FILE_WRITTEN)
        os.fsync(file.fileno())
    reached(FailPoint.FILE_SYNCED)


def _make_folder(folder: Path) -> list[Path]:
    """Makes a folder and its parents; returns those that were missing."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _sync_folder(folder: Path) -> None:
    """A name survives a power cut only when its folder is synced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
