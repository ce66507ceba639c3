"""The retention policy: the retention period of each kind of data. Reads only the policy's file."""

import tomllib
from calendar import monthrange
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import HeadraceError


class Age(BaseModel):
    """A retention period, in days or in years."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: int | None = Field(default=None, ge=1)
    years: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_of_both(self) -> "Age":
        if (self.days is None) == (self.years is None):
            raise ValueError("expected either days or years")
        return self

    def __str__(self) -> str:
        return f"{self.days} days" if self.days is not None else f"{self.years} years"

    def before(self, today: date) -> date:
        """Return the first day that is kept: all earlier days are expired. 29 February counts as the 28th."""
        if self.days is not None:
            return today - timedelta(days=self.days)
        year = today.year - (self.years or 0)
        return date(year, today.month, min(today.day, monthrange(year, today.month)[1]))


class Expiry(BaseModel):
    """The archive's own retention period; without `years` it keeps records for ever."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    years: int | None = Field(default=None, ge=1)


class Hold(BaseModel):
    """The tenants under a legal hold by the policy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenants: frozenset[str] = frozenset()


class Policy(BaseModel):
    """The whole policy, by part. A table in schemas/tables.py names its part with `Table.retention`.

    A file may have further parts, for your own tables.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Age]

    events: Age = Age(days=90)
    sessions: Age = Age(days=30)
    orders: Age = Age(years=7)
    dead_letters: Age = Age(days=90)
    decisions: Age = Age(years=7)
    archive: Expiry = Expiry()
    hold: Hold = Hold()

    def age(self, part: str) -> Age:
        """Return the retention period of a part. Raises HeadraceError for a part that the policy lacks."""
        found = (self.__pydantic_extra__ or {}).get(part) or getattr(self, part, None)
        if not isinstance(found, Age):
            raise HeadraceError(f"the retention policy has no part [{part}], which schemas/tables.py names")
        return found


def load(path: Path | None) -> Policy:
    """Load the policy from a TOML file; None loads the one that ships with Headrace.

    Raises HeadraceError that names the wrong part and what was expected.
    """
    source = path or files("operations.retention").joinpath("policy.toml")
    try:
        return Policy.model_validate(tomllib.loads(source.read_text(encoding="utf-8")))
    except OSError as error:
        raise HeadraceError(f"{path}: {error.strerror}; check HEADRACE_RETENTION__POLICY") from None
    except tomllib.TOMLDecodeError as error:
        raise HeadraceError(f"{path}: expected TOML: {error}") from None
    except ValidationError as error:
        said = "; ".join(f"[{'.'.join(map(str, each['loc']))}] {each['msg'].lower()}" for each in error.errors())
        raise HeadraceError(f"{path}: {said}") from None
