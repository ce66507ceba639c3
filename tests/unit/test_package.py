"""The wheel contains the files that the code reads, and no other distribution uses the names of its packages."""

import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
PACKAGES = {"connectors", "messaging", "migrations", "operations", "schemas", "shop", "sinks", "stack", "streams"}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_sql_json_and_java_file_of_the_packages(names):
    read = {".sql", ".json", ".java", ".xml", ".py"}
    wanted = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in read and "__pycache__" not in path.parts and "target" not in path.parts
    }
    assert {Path(name).suffix for name in wanted} == read
    assert wanted <= names


def test_the_wheel_holds_nothing_but_the_packages(names):
    assert {name.split("/")[0] for name in names} == PACKAGES | {"headrace-0.1.0.dist-info"}


def test_no_other_distribution_uses_the_names_of_our_packages():
    owners = packages_distributions()
    assert {package: owners[package] for package in PACKAGES if set(owners.get(package, [])) - {"headrace"}} == {}
