"""docs/reference is current, and the pages name no setting or metric that the code lacks."""

import re
from pathlib import Path

import pytest

from docs import generate
from operations.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", sorted(generate.pages()), ids=lambda path: path.name)
def test_a_reference_page_is_current(path):
    assert path.read_text() == generate.pages()[path], f"{path.name} is out of date: run `make docs` and commit it"


def test_every_setting_has_a_meaning():
    sections = {name: field.annotation for name, field in Settings.model_fields.items()}
    meanings = {
        f"{section}.{name}": field.description
        for section, model in sections.items()
        for name, field in model.model_fields.items()
    }
    assert len(meanings) > 50
    assert [name for name, meaning in meanings.items() if not meaning] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_setting_that_a_page_names_exists(page):
    known = {
        f"{PREFIX}{section.upper()}__{name.upper()}"
        for section, field in Settings.model_fields.items()
        for name in field.annotation.model_fields
    }
    assert set(re.findall(r"HEADRACE_[A-Z]+__[A-Z_]+", page.read_text())) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_metric_that_a_page_names_exists(page):
    known = {name for module in generate.metric_modules() for name, *_ in generate.metrics_in(module)}
    named = set(
        re.findall(r"\bheadrace_[a-z_]+(?:_seconds|_bytes|_records|_total|_running|_pending|_open)\b", page.read_text())
    )
    assert named <= known
