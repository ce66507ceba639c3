"""Store the archive's objects in a local folder, or in a bucket through fsspec.

An object is put once, whole, and never changes; once `put` has returned, the object survives a crash. fsspec's local
files neither sync nor refuse an existing name, so `LocalStore` writes files itself.
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
READ_BYTES = 1 << 20  # read per request


class ArchiveUnavailable(Unavailable):
    """The archive can't be written or read now: a full disk, an unreachable bucket. Nothing is lost by waiting."""


class Exists(HeadraceError):
    """An object of that name already exists: another writer was first."""


class Missing(HeadraceError):
    """There is no object of that name."""


class Store(Protocol):
    """Objects by name, `/` between the parts of a name."""

    @property
    def url(self) -> str:
        """The URL in the settings."""

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        """Store an object atomically and durably. Raises Exists, ArchiveUnavailable."""

    def open(self, name: str) -> BinaryIO:
        """Open an object's bytes as a stream. Raises Missing, ArchiveUnavailable."""

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the sizes in bytes of all objects below `folder`, by name, sorted. Raises ArchiveUnavailable."""

    def delete(self, name: str) -> None:
        """Delete an object; a missing one is no error. Raises ArchiveUnavailable."""


def open_store(url: str, endpoint: str | None = None) -> Store:
    """Open the store at a URL: a path or file:// is a local folder, all others are fsspec's (s3://, abfs://, gs://).

    `endpoint` is the address of an S3 service that isn't Amazon's. Raises HeadraceError where the package for that kind
    of bucket is not installed.
    """
    scheme = urlsplit(url).scheme
    if scheme in ("", "file"):
        return LocalStore(Path(url.removeprefix("file://")))
    return ObjectStore(url, endpoint)


class LocalStore:
    """A local folder. An object's bytes are synced under a temporary name, which is then linked to its own name."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def url(self) -> str:
        return str(self._root)

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        target, temporary = self._root / name, self._root / TEMPORARY / str(uuid4())
        with as_unavailable(self.url):
            temporary.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write(temporary, chunks)
                made = _make_folder(target.parent)
                os.link(temporary, target)  # unlike a rename, a link refuses an existing name
                for folder in {target.parent, *(each.parent for each in made)}:
                    _sync_folder(folder)
                reached(FailPoint.FILE_NAMED)
            finally:
                temporary.unlink(missing_ok=True)

    def open(self, name: str) -> BinaryIO:
        with as_unavailable(self.url):
            return _reading((self._root / name).open("rb", buffering=0), self.url)

    def sizes(self, folder: str) -> dict[str, int]:
        sizes: dict[str, int] = {}
        with as_unavailable(self.url):
            for path in sorted((self._root / folder).rglob("*")):
                with contextlib.suppress(FileNotFoundError):  # deleted since it was listed
                    found, name = path.stat(), path.relative_to(self._root).as_posix()
                    if stat.S_ISREG(found.st_mode) and not name.startswith(f"{TEMPORARY}/"):
                        sizes[name] = found.st_size
        return sizes

    def delete(self, name: str) -> None:
        with as_unavailable(self.url):
            (self._root / name).unlink(missing_ok=True)

    def delete_temporary(self, before: datetime) -> dict[str, int]:
        """Delete temporary files of killed writers that were last written before an instant.

        Returns the deleted files' sizes in bytes by name. Raises ArchiveUnavailable.
        """
        deleted: dict[str, int] = {}
        with as_unavailable(self.url):
            for path in (self._root / TEMPORARY).glob("*"):
                try:
                    if path.is_file() and path.stat().st_mtime < before.timestamp():
                        deleted[f"{TEMPORARY}/{path.name}"] = path.stat().st_size
                        path.unlink()
                except FileNotFoundError:  # its writer has just linked it to its name
                    continue
        return deleted


class ObjectStore:
    """A bucket, or a folder of one. An object appears when its upload is complete, and never replaces another.

    The manifest relies on that, and not every S3-compatible storage guarantees it: the first `put` tests it.
    """

    def __init__(self, url: str, endpoint: str | None = None) -> None:
        self._url = url.rstrip("/")
        options = {"endpoint_url": endpoint} if endpoint else {}
        try:
            # Listings are never cached: other processes write, too.
            self._files, self._root = fsspec.core.url_to_fs(self._url, use_listings_cache=False, **options)
        except ImportError as error:
            raise HeadraceError(f"{url}: {error}; s3:// comes with `pip install 'headrace[s3]'`") from None
        except ValueError as error:
            raise HeadraceError(f"{url}: {error}; check HEADRACE_ARCHIVE__URL") from None
        self._tested = False

    @property
    def url(self) -> str:
        return self._url

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        if not self._tested:
            self._test_put_once()
        self._put(name, chunks)

    def _test_put_once(self) -> None:
        """Test that a name can be used only once. Raises HeadraceError where an object can be replaced."""
        name = f"{TEMPORARY}/{uuid4()}"
        self._put(name, [b"once"])
        try:
            self._put(name, [b"again"])
        except Exists:
            self._tested = True
        finally:
            self.delete(name)
        if not self._tested:
            raise HeadraceError(
                f"{self.url}: this storage lets an object replace another, so writers would lose each other's entries: "
                "it must support If-None-Match. See docs/decisions/0009-archive.md"
            )

    def _put(self, name: str, chunks: Iterable[bytes]) -> None:
        with as_unavailable(self.url), tempfile.NamedTemporaryFile(prefix="headrace-") as whole:
            whole.writelines(chunks)
            whole.flush()
            reached(FailPoint.FILE_WRITTEN)
            self._files.put_file(whole.name, self._path(name), mode="create")
            reached(FailPoint.FILE_NAMED)

    def open(self, name: str) -> BinaryIO:
        with as_unavailable(self.url):
            stream = self._files.open(self._path(name), "rb", block_size=READ_BYTES, cache_type="readahead")
            return _reading(stream, self.url)

    def sizes(self, folder: str) -> dict[str, int]:
        with as_unavailable(self.url):
            found = self._files.find(self._path(folder), detail=True)
        return {path[len(self._root) + 1 :]: int(each["size"]) for path, each in sorted(found.items())}

    def delete(self, name: str) -> None:
        with as_unavailable(self.url):
            try:
                self._files.rm_file(self._path(name))
            except FileNotFoundError:
                return

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


@contextmanager
def as_unavailable(url: str) -> Iterator[None]:
    """Translate a file system's errors: Exists, Missing, and ArchiveUnavailable for all others."""
    try:
        yield
    except FileExistsError as error:
        raise Exists(f"{url}: {error}") from None
    except FileNotFoundError as error:
        raise Missing(f"{url}: {error}") from None
    except HeadraceError:
        raise
    except Exception as error:  # each bucket's client has its own errors
        said = f"{type(error).__name__} {error}" if not isinstance(error, OSError) else str(error)
        raise ArchiveUnavailable(
            f"the archive at {url} can't be used: {said}. See docs/runbook.md#archive-unavailable"
        ) from error


class _Reading(io.RawIOBase):
    """A stream that raises ArchiveUnavailable for a failed read, so that other errors concern its content."""

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
    """Create a folder and its parents, and return those that were missing."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _sync_folder(folder: Path) -> None:
    """Sync a folder: only then does a new name in it survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
