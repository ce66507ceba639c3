"""docker-compose.yml for tests: anchors merged, and variables replaced by the values of `.env`."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(\w+)(:\?|:-)?([^}]*)\}")
Service = dict[str, Any]


def services() -> dict[str, Service]:
    """Return every service, its anchors merged; variables as they are written."""
    found: dict[str, Service] = yaml.safe_load(FILE.read_text())["services"]
    return found


def of_headrace() -> dict[str, Service]:
    """Return the services that run Headrace's own image."""
    return {name: service for name, service in services().items() if service["image"].startswith("headrace:")}


def variables() -> dict[str, set[str]]:
    """Return each variable of `.env` that the file uses, and its operators: ":?" requires it, ":-" has a default."""
    found: dict[str, set[str]] = {}
    for name, otherwise, _ in _VARIABLE.findall(json.dumps(services())):
        found.setdefault(name, set()).add(otherwise)
    return found


def filled(value: str, env: dict[str, str]) -> str:
    """Return a value as a container gets it."""
    return _VARIABLE.sub(lambda found: env.get(found[1], found[3]), value).replace("$$", "$")
