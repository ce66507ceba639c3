"""What is too old, and what the archive itself lets go of."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from operations.retention.expiry import expired
from operations.retention.item import Outcome
from operations.retention.policy import Age, Policy, load
from operations.retention.stores import Stores
from schemas.errors import HeadraceError
from schemas.tables import TABLES
from sinks.archive.layout import bucket
from tests.filing import append, event, flip, ids, open_log

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
OLD = datetime(2015, 3, 1, tzinfo=UTC)
HELD, FREE = [f"t-{number}" for number in range(200) if bucket(f"t-{number}") == 3][:2]  # in one bucket


def test_an_age_is_a_day_before_which_things_are_too_old():
    assert Age(days=90).before(date(2026, 11, 25)) == date(2026, 8, 27)
    assert Age(years=7).before(date(2026, 11, 25)) == date(2019, 11, 25)
    assert Age(years=7).before(date(2024, 2, 29)) == date(2017, 2, 28)


def test_the_policy_that_ships_says_what_is_promised():
    policy = load(None)
    assert policy == Policy()
    assert (policy.events, policy.sessions, policy.orders) == (Age(days=90), Age(days=30), Age(years=7))
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


def stores(folder: Path, **other: Any) -> Stores:
    nothing: Any = None
    parts = dict.fromkeys(("oltp", "reporting", "bootstrap", "decoding", "barrier", "landed"), nothing)
    policy = Policy.model_validate({"archive": {"years": 10}})
    known = {"log": open_log(folder / "archive"), "spool": folder, "codec": "zstandard", "policy": policy, "now": NOW}
    return Stores(**parts | known | {"held": frozenset({HELD}), "dry": False} | other)


def test_the_archive_lets_go_of_what_its_policy_says_but_of_nobody_under_a_hold(tmp_path: Path):
    old = [event(number, tenant, occurred_at=OLD) for number, tenant in enumerate([HELD, FREE, FREE])]
    append(open_log(tmp_path / "archive"), [*old, event(9)])
    (plan,) = expired(stores(tmp_path, dry=True))
    assert (plan.outcome, plan.count) == (Outcome.GOES, 2)
    assert len(ids(open_log(tmp_path / "archive"))) == 4
    (done,) = expired(stores(tmp_path))
    assert (done.outcome, done.count) == (Outcome.GONE, 2)
    assert ids(open_log(tmp_path / "archive")) == [old[0]["event_id"], event(9)["event_id"]]
    assert list(expired(stores(tmp_path))) == []


def test_a_damaged_file_is_not_copied_under_a_hold_but_named(tmp_path: Path):
    append(open_log(tmp_path / "archive"), [event(1, HELD, occurred_at=OLD), event(2, FREE, occurred_at=OLD)])
    (file,) = open_log(tmp_path / "archive").manifest().files
    flip(tmp_path / "archive" / file)
    (kept,) = expired(stores(tmp_path))
    assert kept.outcome is Outcome.KEPT
    assert file in kept.detail


def test_an_archive_without_an_end_keeps_everything(tmp_path: Path):
    append(open_log(tmp_path / "archive"), [event(1, occurred_at=OLD)])
    assert list(expired(stores(tmp_path, policy=Policy()))) == []
