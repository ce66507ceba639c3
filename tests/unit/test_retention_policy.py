"""The retention periods of a policy, and its errors."""

from datetime import date
from pathlib import Path

import pytest

from operations.retention.policy import Age, Policy, load
from schemas.errors import HeadraceError
from schemas.tables import TABLES


def test_an_age_is_a_day_before_which_things_are_too_old():
    assert Age(days=90).before(date(2026, 11, 25)) == date(2026, 8, 27)
    assert Age(years=7).before(date(2026, 11, 25)) == date(2019, 11, 25)
    assert Age(years=7).before(date(2024, 2, 29)) == date(2017, 2, 28)


def test_the_policy_that_ships_says_what_is_promised():
    policy = load(None)
    assert policy == Policy()
    assert (policy.events, policy.sessions, policy.orders) == (Age(days=90), Age(days=30), Age(years=7))
    assert (policy.dead_letters, policy.decisions) == (Age(days=90), Age(years=7))
    assert policy.archive.years is None
    for table in TABLES:
        assert table.retention is None or policy.age(table.retention)


def test_a_part_of_ones_own_is_named_like_any_other(tmp_path: Path):
    file = tmp_path / "policy.toml"
    file.write_text("[refunds]\nyears = 3\n[hold]\ntenants = ['a']\n")
    policy = load(file)
    assert policy.age("refunds") == Age(years=3)
    assert policy.events == Age(days=90)
    assert policy.hold.tenants == {"a"}
    with pytest.raises(HeadraceError, match=r"no part \[returns\]"):
        policy.age("returns")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[events]\ndays = 0\n", r"\[events.days\].*greater than or equal to 1"),
        ("[events]\ndays = 3\nyears = 3\n", r"\[events\].*either days or years"),
        ("[events]\nmonths = 3\n", r"\[events.months\]"),
        ("[archive]\ndays = 3\n", r"\[archive.days\]"),
        ("[events\n", "expected TOML"),
    ],
)
def test_a_wrong_policy_is_named_with_what_was_expected(tmp_path: Path, text: str, said: str):
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(HeadraceError, match=f"policy.toml: .*{said}|policy.toml: {said}"):
        load(file)


def test_a_policy_that_is_not_there_names_the_setting(tmp_path: Path):
    with pytest.raises(HeadraceError, match="HEADRACE_RETENTION__POLICY"):
        load(tmp_path / "none.toml")
