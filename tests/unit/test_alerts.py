"""The alert rules are valid for Prometheus, and use metrics and runbook entries that exist."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

ROOT = Path(__file__).parents[2]
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]


def exported() -> set[str]:
    """Return the names of all samples that our workers can export."""
    for module in (
        "messaging.dead_letters",
        "operations.dlq.metrics",
        "operations.verify.follow",
        "operations.watch.metrics",
        "sinks.reporting.metrics",
        "sinks.archive.metrics",
        "streams.metrics",
    ):
        importlib.import_module(module)
    names = {family.name for family in REGISTRY.collect()}
    return names | {f"{name}_{suffix}" for name in names for suffix in ("total", "bucket", "sum", "count")}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
class TestRule:
    def test_it_has_the_fields_of_an_alert_and_no_others(self, rule):
        assert {"alert", "expr", "labels", "annotations"} <= rule.keys()
        assert rule.keys() <= {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[smhd]", rule.get("for", "0s"))
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["expr"].count("(") == rule["expr"].count(")")

    def test_it_asks_for_metrics_that_there_are(self, rule):
        asked = set(re.findall(r"\bheadrace_\w+", rule["expr"]))
        assert asked
        assert asked <= exported()

    def test_its_texts_use_labels_that_its_expression_keeps(self, rule):
        kept = {name.strip() for found in re.findall(r"by \(([^)]*)\)", rule["expr"]) for name in found.split(",")}
        texts = " ".join(rule["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", texts)) <= kept

    def test_a_rule_test_sees_it_fire(self, rule):
        tests = yaml.safe_load((ROOT / "tests" / "prometheus" / "alerts.test.yml").read_text())["tests"]
        samples = [
            sample for test in tests for check in test["promql_expr_test"] for sample in check.get("exp_samples", ())
        ]
        assert any(f'alertname="{rule["alert"]}"' in sample["labels"] for sample in samples), "see `make alerts`"

    def test_it_leads_to_an_entry_of_the_runbook(self, rule):
        page, _, entry = rule["annotations"]["runbook_url"].partition("#")
        text = (ROOT / page).read_text()
        assert f"\n## {entry}\n" in text
        assert rule["alert"] in text
