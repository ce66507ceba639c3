"""The retention policy: how long each store keeps what. Opens nothing but the file that it is read from."""

import tomllib
from calendar import monthrange
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import HeadraceError


class Age(BaseModel):
    """How old something may become, in days or in years."""

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
        """The day before which things are too old: that day itself is kept. 29 February counts as the 28th."""
        if self.days is not None:
            return today - timedelta(days=self.days)
        year = today.year - (self.years or 0)
        return date(year, today.month, min(today.day, monthrange(year, today.month)[1]))


class Expiry(BaseModel):
    """When the archive lets go of what it holds; never, where it is empty."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    years: int | None = Field(default=None, ge=1)


class Hold(BaseModel):
    """Legal holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenants: frozenset[str] = frozenset()


class Policy(BaseModel):
    """The whole policy. What tables belong to `events` and `orders`, and to a part of your own, schemas/tables.py says
    (`Table.retention`)."""

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
        """The age of a part of the policy. Raises HeadraceError for one that it doesn't name."""
        found = (self.__pydantic_extra__ or {}).get(part) or getattr(self, part, None)
        if not isinstance(found, Age):
            raise HeadraceError(f"the retention policy has no part [{part}], which schemas/tables.py speaks of")
        return found


def load(path: Path | None) -> Policy:
    """The policy of a TOML file, by default the one that ships with Headrace. Raises HeadraceError that names what is
    wrong, and where."""
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
