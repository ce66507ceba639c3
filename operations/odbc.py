"""Build ODBC connection strings for SQL Server with Microsoft's driver from the package mssql-python-odbc. No I/O."""

import platform
from importlib.util import find_spec
from pathlib import Path

from operations.settings import ReportingSettings
from schemas.errors import HeadraceError

_FAMILIES = {"debian": "debian_ubuntu", "ubuntu": "debian_ubuntu", "rhel": "rhel", "fedora": "rhel", "suse": "suse"}


def connection_string(reporting: ReportingSettings, user: str, password: str, *, database: str | None = None) -> str:
    """Return an ODBC connection string. `database` may be "" for the login's default one.

    A DRIVER among the settings' attributes is used instead of the package's.

    Raises:
        HeadraceError: There is no driver.
    """
    attributes = {
        "SERVER": f"{reporting.host},{reporting.port}",
        "DATABASE": reporting.database if database is None else database,
        "UID": user,
        "PWD": password,
        "APP": "headrace",
    }
    if "driver=" not in reporting.odbc.lower():
        attributes["DRIVER"] = str(driver())
    # Braces quote a value with any characters; a closing brace in it is doubled.
    quoted = (f"{name}={{{value.replace('}', '}}')}}}" for name, value in attributes.items() if value)
    return ";".join([*quoted, reporting.odbc])


def driver() -> Path:
    """Return the driver's library in the package, for this machine.

    Raises:
        HeadraceError: There is none.
    """
    package = find_spec("mssql_python_odbc")
    if package is None or package.origin is None:
        raise HeadraceError("SQL Server's driver is not installed; run: pip install 'headrace[sqlserver]'")
    libraries = Path(package.origin).parent / "libs"
    machine = {"aarch64": "arm64", "arm64": "arm64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    found = sorted(path for path in libraries.rglob("libmsodbcsql*18*") if machine in path.parts and path.is_file())
    fitting = [path for path in found if _family() in path.parts] or found
    if not fitting:
        raise HeadraceError(
            f"mssql-python-odbc carries no driver for {platform.system()} on {machine}; install Microsoft's, and set "
            "HEADRACE_REPORTING__ODBC to DRIVER={ODBC Driver 18 for SQL Server};Encrypt=yes"
        )
    return fitting[0]


def _family() -> str:
    if platform.system() != "Linux":
        return "macos"
    release = platform.freedesktop_os_release()
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    return next((_FAMILIES[name] for name in names if name in _FAMILIES), "debian_ubuntu")
