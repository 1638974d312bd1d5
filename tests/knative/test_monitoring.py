"""Alerts and dashboard: valid queries, over metrics that there are, with every alert explained to operators."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

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


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    """A series as promtool takes it."""
    written = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return {"series": f"{name}{{{written}}}", "values": values}


def claim(name: str, values: str) -> dict[str, str]:
    return series(f"kubelet_volume_stats_{name}_bytes", values, persistentvolumeclaim="datavar")


def quota(used: str) -> list[dict[str, str]]:
    return [series("kube_resourcequota", value, resourcequota="deadletter", type=type)
            for type, value in (("used", used), ("hard", "300x60"))]  # fmt: skip


def commits(slow: str) -> list[dict[str, str]]:
    return [
        series("datastore_commit_seconds_bucket", rate, le=le)
        for le, rate in (("1", slow), ("5", "0+100x60"), ("+Inf", "0+100x60"))
    ]


def busy(rate: str) -> list[dict[str, str]]:
    accepted = series("datastore_segments_accepted_total", "0+100x60")
    return [series("datastore_refusals_total", rate, code="BUSY"), accepted]


def own(name: str, values: str, **labels: str) -> list[dict[str, str]]:
    return [series(f"datastore_{name}", values, **labels)]


def refused(code: str, values: str) -> list[dict[str, str]]:
    return [series("datastore_refusals_total", values, code=code)]


# Alert -> what it fires on, and what it keeps still for, a sample a minute: an hour, or seven where it takes them.
CASES: dict[str, tuple[list[dict[str, str]], list[dict[str, str]]]] = {
    "DatastoreWriterAway": ([], own("batch_segments", "0x60", function="writer")),
    "DatastoreJournalDamaged": (refused("DAMAGED", "0x58 1 2"), refused("DAMAGED", "2x60")),
    "DatastoreSegmentsMissing": (own("segments_missing", "1x60"), own("segments_missing", "0x60")),
    "DatastoreSegmentsPending": (own("segments_pending", "7x60"), own("segments_pending", "0x57 7x3")),
    "DatastoreKeysFillUp": (own("keys", "3200001x60"), own("keys", "3200000x60")),
    "DatastoreVolumeRefuses": (refused("ERRIO", "0x58 1 2"), refused("BUSY", "0x58 1 2")),
    "DatastoreVolumeFillsUp": (
        [claim("available", "9x60"), claim("capacity", "100x60")],
        [claim("available", "10x60"), claim("capacity", "100x60")],
    ),
    "DatastoreBusy": (busy("0+2x60"), busy("0+1x60")),
    "DatastoreCommitsSlow": (commits("0+98x60"), commits("0+100x60")),
    "DatastoreFrozenForLong": (own("frozen", "1x420"), own("frozen", "1x418 0 1")),
    "DatastoreTwoWriters": (
        own("batch_segments", "5x60", pod="one") + own("batch_segments", "5x60", pod="two"),
        own("batch_segments", "5x60", pod="one") + own("batch_segments", "5x35 _x25", pod="two"),
    ),
    "DatastoreArchivesWait": (
        own("archives_waiting_seconds", "21601x60"), own("archives_waiting_seconds", "21600x60"),
    ),
    "DatastoreArchivesLost": (own("archives_lost", "1x60"), own("archives_lost", "0x60")),
    "DatastoreDeadLettersFull": (quota("241x60"), quota("240x60")),
    "DatastoreDeadLetters": (
        [series("kube_job_info", "1x60", job_name="deadletter1")],
        [series("kube_job_info", "1x60", job_name="recorder1")],
    ),
}  # fmt: skip


def test_every_alert_fires_on_its_cause_and_on_nothing_less(tmp_path):
    assert CASES.keys() == {rule["alert"] for rule in ALERTS}
    if not (promtool := shutil.which("promtool")):
        pytest.skip("needs promtool (Debian's package prometheus)")
    summaries = {rule["alert"]: rule["annotations"]["summary"] for rule in ALERTS}
    tests = []
    for name, cases in CASES.items():
        for fires, given in zip((True, False), cases, strict=True):
            end = "7h" if name == "DatastoreFrozenForLong" else "1h"
            # How many fire, whatever their labels and texts.
            query = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
            expected = [{"labels": "{}", "value": 1}] if fires else []
            tests.append(
                {
                    "interval": "1m",
                    "input_series": given,
                    "name": f"{name} {'fires' if fires else 'keeps still'}",
                    "promql_expr_test": [{"expr": query, "eval_time": end, "exp_samples": expected}],
                }
            )
    assert all(summaries.values())
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump(
            {"rule_files": [str(KNATIVE / "monitoring" / "alerts.yaml")], "evaluation_interval": "1m", "tests": tests}
        )
    )
    done = subprocess.run([promtool, "test", "rules", str(tmp_path / "test.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
