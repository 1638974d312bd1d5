"""Alerts and dashboard: valid queries, over metrics that there are, with every alert explained to operators."""

from __future__ import annotations

import json
import re

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from shared import metrics
from shared.domain.state import State
from shared.errors import DatastoreError, error_from_code
from tests.support import ROOT
from tests.support.manifests import KNATIVE

ALERTS = [rule for group in yaml.safe_load((KNATIVE / "monitoring" / "alerts.yaml").read_text())["groups"]
          for rule in group["rules"]]  # fmt: skip
DASHBOARD = json.loads((KNATIVE / "monitoring" / "dashboard.json").read_text())
QUERIES = [rule["expr"] for rule in ALERTS]
QUERIES += [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
FOREIGN = {
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    "kube_job_info",
    "kube_resourcequota",
}


def own_metrics() -> set[str]:
    """Names as a scrape of the writer shows them."""
    metrics.expose_state(State)
    metrics.REFUSALS.labels("BUSY")
    families = text_string_to_metric_families(metrics.text().decode())
    return {sample.name for family in families for sample in family.samples}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_valid_and_asks_for_metrics_that_there_are(query):
    promql_parser.parse(query)
    named = set(re.findall(r"\b(?:datastore|kube|kubelet)_[a-z_]+", query))
    assert named
    assert named <= own_metrics() | FOREIGN


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_codes_that_there_are(query):
    for code in re.findall(r'code="([A-Z]+)"', query):
        assert code == DatastoreError.code or error_from_code(code, ""), code


def test_every_alert_is_explained_in_the_handbook():
    text = (ROOT / "docs" / "operations.md").read_text()
    for rule in ALERTS:
        assert f"**{rule['alert']}**" in text
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_every_metric_is_on_the_dashboard():
    shown = " ".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    for name in own_metrics():
        if name.startswith("datastore_") and not name.endswith("_created"):
            assert re.sub(r"_(sum|count|bucket)$", "", name) in shown


def test_panels_do_not_lie_on_each_other():
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in DASHBOARD["panels"])
