"""Names in the documentation exist, and entries that the code names are documented."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from operations.cli import app

ROOT = Path(__file__).parents[2]
ROOMS = ("connectors", "messaging", "migrations", "operations", "schemas", "sinks", "stack", "streams")
SOURCES = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
FOLDERS = (*ROOMS, "bench", "deploy", "docs", "shop", "tests")
NAMED_FILE = re.compile(
    rf"(?<![\w./-])((?:{'|'.join(FOLDERS)})(?:/[\w.*-]+)+\.(?:py|sql|json|md|toml|ya?ml|xml|sh|js|env))\b"
)
YOUR_MIGRATIONS = "0100_"  # docs/your-tables.md has a reader write them
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_runbook_entry_that_an_error_names_exists():
    entries = set(re.findall(r"^## ([\w-]+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE))
    named = {anchor for path in SOURCES for anchor in re.findall(r"runbook\.md#([\w-]+)", path.read_text())}
    assert named, "no error names an entry: the pattern is out of date"
    assert named <= entries


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_decisions_that_the_code_names_exist():
    named = {name for path in SOURCES for name in re.findall(r"docs/decisions/([\w-]+\.md)", path.read_text())}
    assert named
    assert {name for name in named if not (ROOT / "docs" / "decisions" / name).exists()} == set()


def test_the_readme_names_only_commands_that_there_are():
    readme = (ROOT / "README.md").read_text()
    commands = set(re.findall(r"`?headrace ([a-z]+)(?: ([a-z]+))?", readme))
    assert commands
    for command, sub in sorted(commands):
        shown = helped(command)
        if sub and f"{command} {sub}" in readme and "Commands:" in shown:
            helped(command, sub)


def helped(*command: str) -> str:
    done = CliRunner().invoke(app, [*command, "--help"])
    assert done.exit_code == 0, f"headrace {' '.join(command)}: {done.output}"
    return done.output


def test_the_readme_names_only_make_targets_that_there_are():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert (
        set(re.findall(r"(?:^    (?:\$ )?|`)make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE)) <= targets
    )


@pytest.mark.parametrize("chain", ["oltp", "reporting/postgres"])
def test_migrations_of_your_own_follow_the_last_of_ours(chain):
    page = (ROOT / "docs" / "your-tables.md").read_text()
    followed = re.search(rf'# migrations/{chain}/versions/\w+\.py\n.*?down_revision = "\d+", "(\d+)"', page, re.DOTALL)
    last = max(path.stem for path in (ROOT / "migrations" / chain / "versions").glob("0*.py"))
    assert followed and last.startswith(followed[1]), f"the page follows {followed and followed[1]}, the last is {last}"


def test_every_test_that_the_page_of_faults_names_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "faults.md").read_text())
    assert len(named) > 100, "the pattern is out of date"
    missing = [f"{path}::{name}" for path, name in named if not defines(ROOT / path, name)]
    assert missing == []


def defines(path: Path, name: str) -> bool:
    return path.exists() and re.search(rf"^ *def {name}\(", path.read_text(), re.MULTILINE) is not None


def test_files_that_a_page_or_a_module_names_exist():
    named = {
        (path, name)
        for path in [*PAGES, *SOURCES]
        for name in NAMED_FILE.findall(path.read_text())
        if not name.rpartition("/")[2].startswith(YOUR_MIGRATIONS)
    }
    assert len(named) > 100, "the pattern is out of date"
    missing = sorted(f"{path.relative_to(ROOT)}: {name}" for path, name in named if not is_there(name))
    assert missing == []


def is_there(name: str) -> bool:
    """Return whether a file of this name exists. * means any text. Messages leave out the folder `versions`."""
    folder, _, file = name.rpartition("/")
    return any(ROOT.glob(name)) or any(ROOT.glob(f"{folder}/versions/{file}"))
