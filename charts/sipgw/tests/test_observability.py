"""Dashboards and alerts ask only for metrics that the processes have; the alerts fire when they should."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, CollectorRegistry
from rendering import CHART, of_kind, render

import sipgw.operator.metrics
import sipgw.registry.metrics
import sipgw.sip_edge.metrics  # noqa: F401 - instruments are in the registry once imported
from sipgw.media_relay.metrics import RelayMetrics
from sipgw.runtime.telemetry.metrics import reference_table

BOARDS = sorted((CHART / "files" / "dashboards").glob("*.json"))
ALERTS = sorted((CHART / "files" / "alerts").glob("*.yaml"))
ROOT = CHART.parents[1]
AGGREGATIONS = "sum|min|max|avg|count|group|stddev|stdvar|topk|bottomk|quantile|count_values|limitk"
NAME = re.compile(r"\bsipgw_[a-z0-9_]+")
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


@cache
def series() -> frozenset[str]:
    """Return every series that a process can show."""
    families = [*REGISTRY.collect(), *RelayMetrics().describe()]
    return frozenset(f"{one.name}{suffix}" for one in families for suffix in SUFFIXES.get(one.type, ("",)))


def board(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def rules() -> list[dict[str, Any]]:
    return [rule for path in ALERTS for group in yaml.safe_load(path.read_text()) for rule in group["rules"]]


def runbook(rule: dict[str, Any]) -> str:
    """Return the name of the alert's runbook page."""
    return rule["annotations"]["runbook_url"].removeprefix("RUNBOOKS/")


def targets(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in board(path)["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.name)
def test_a_board_asks_for_metrics_that_exist_and_for_its_release_only(path: Path) -> None:
    asked = [(title, target["expr"]) for title, target in targets(path)]
    assert len(asked) > 10
    for title, expr in asked:
        unknown = set(NAME.findall(expr)) - series()
        assert NAME.search(expr), title
        assert not unknown, f"{title}: {unknown}"
        assert expr.count('namespace=~"$namespace"') == len(NAME.findall(expr)), f"{title}: {expr}"


def test_boards_have_uids_panels_and_ids_of_their_own() -> None:
    assert [path.name for path in BOARDS] == ["calls.json", "registry.json", "relays.json"]
    boards = [board(path) for path in BOARDS]
    assert len({one["uid"] for one in boards}) == len(boards)
    for one in boards:
        ids = [panel["id"] for panel in one["panels"]]
        assert len(ids) == len(set(ids))
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in one["panels"]]
        assert len(places) == len(set(places)), "panels one upon another"


def test_an_alert_asks_for_metrics_that_exist_in_its_release_only() -> None:
    assert len(rules()) >= 15
    for rule in rules():
        names = NAME.findall(rule["expr"])
        assert names, rule
        assert not set(names) - series(), f"{rule['alert']}: {set(names) - series()}"
        assert rule["expr"].count('namespace="NAMESPACE"') == len(names), rule["alert"]


def test_an_alert_tells_its_namespace_whatever_it_sums_up() -> None:
    for rule in rules():
        expr = rule["expr"]
        assert not re.findall(rf"\b(?:{AGGREGATIONS})\s*\(", expr), f"{rule['alert']}: no by (namespace, ...)"
        assert "without" not in expr, rule["alert"]
        for labels in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expr):
            assert "namespace" in re.split(r",\s*", labels), f"{rule['alert']}: {labels}"
        assert "ignoring" not in expr, rule["alert"]


def test_an_alert_has_a_severity_a_summary_and_a_runbook_that_speaks_of_it() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]
        text = (ROOT / "docs" / "runbooks" / runbook(rule)).read_text()
        assert rule["alert"] in text.splitlines()[0], f"{rule['alert']}: not in the title of its runbook"
        assert all(f"**{word}**" in text for word in ("Means", "The caller hears", "Do")), rule["alert"]
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))


def test_every_runbook_is_in_the_list_and_belongs_to_an_alert() -> None:
    pages = {path.name for path in (ROOT / "docs" / "runbooks").glob("*.md")} - {"README.md"}
    listed = (ROOT / "docs" / "runbooks" / "README.md").read_text()
    assert pages == {runbook(rule) for rule in rules()}
    assert all(f"({page})" in listed for page in pages)


def test_the_chart_renders_them_for_its_namespace_when_asked() -> None:
    monitoring = {"prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}}
    manifests = render(values={"monitoring": monitoring})
    (rule,) = of_kind(manifests, "PrometheusRule")
    assert sum(len(group["rules"]) for group in rule["spec"]["groups"]) == len(rules())
    assert not re.search("NAMESPACE|RUNBOOKS", json.dumps(rule))
    shown = [name for one in of_kind(manifests, "ConfigMap") for name in one.get("data", {})]
    assert {path.name for path in BOARDS} <= set(shown)


def rendered_rules(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    monitoring = values.pop("monitoring", {})
    monitoring = {"prometheusRule": {"enabled": True, **monitoring}}
    (found,) = of_kind(render(values={**values, "monitoring": monitoring}), "PrometheusRule")
    return {rule["alert"]: rule for group in found["spec"]["groups"] for rule in group["rules"]}


@pytest.mark.parametrize(
    ("base", "shown"),
    [
        (None, "https://sipgw.io/docs/runbooks/"),
        ("https://git.example.com/voice/-/blob/main/docs/runbooks", None),
        ("https://wiki.example.com/runbooks/", None),
    ],
)
def test_a_runbook_has_an_absolute_address(base: str | None, shown: str | None) -> None:
    rendered = rendered_rules({"monitoring": {"runbookBaseUrl": base}} if base else {})
    wanted = {rule["alert"]: runbook(rule) for rule in rules()}
    prefix = shown or f"{(base or '').rstrip('/')}/"
    assert {name: one["annotations"]["runbook_url"] for name, one in rendered.items()} == {
        name: f"{prefix}{page}" for name, page in wanted.items()
    }


@pytest.mark.parametrize(
    ("values", "gone"),
    [
        (
            {"operator": {"enabled": False}, "tls": {"mode": "off"}, "redis": {"password": "x"}},
            {"SipgwCertificateExpires"},
        ),
        ({"tls": {"mode": "cert-manager"}}, {"SipgwCertificateExpires"}),
        ({"tls": {"mode": "off"}}, {"SipgwCertificateExpires"}),
    ],
)
def test_an_alert_is_there_with_what_it_watches_only(values: dict[str, Any], gone: set[str]) -> None:
    of_operator = {rule["alert"] for rule in rules() if "sipgw_operator_" in rule["expr"]}
    assert len(of_operator) >= 3
    gone |= set() if values.get("operator", {}).get("enabled", True) else of_operator
    assert rendered_rules(values).keys() == {rule["alert"] for rule in rules()} - gone


@pytest.mark.parametrize("process", ["edge", "relay", "registry", "operator"])
def test_the_reference_has_the_instruments_of_the_code(process: str) -> None:
    """After a change: paste what `python -m sipgw.sip_edge.metrics` (or the like) prints."""
    registry = CollectorRegistry()
    registry.register(RelayMetrics())
    registry.register(REGISTRY)  # type: ignore[arg-type]
    text = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    assert reference_table(registry, f"sipgw_{process}_") in text


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not here (Debian: prometheus)")
    return found


@pytest.fixture
def rule_files(tmp_path: Path) -> list[Path]:
    """Write the rules as the Prometheus operator does, for a release in the namespace `voice`."""
    written: list[Path] = []
    for path in ALERTS:
        text = path.read_text().replace("NAMESPACE", "voice")
        groups = yaml.safe_load(text.replace("RUNBOOKS", "https://runbooks.example.com"))
        written.append(tmp_path / path.name)
        written[-1].write_text(yaml.safe_dump({"groups": groups}))
    return written


def test_promtool_takes_the_rules(promtool: str, rule_files: list[Path]) -> None:
    done = subprocess.run(
        [promtool, "check", "rules", *map(str, rule_files)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_only_then(
    promtool: str, rule_files: list[Path], tmp_path: Path
) -> None:
    cases = yaml.safe_load((Path(__file__).parent / "alert_cases.yaml").read_text())
    summaries = {rule["alert"]: rule for rule in rules()}
    for case in cases["tests"]:
        for expected in case["alert_rule_test"]:
            for alert in expected.get("exp_alerts", ()):
                alert["exp_labels"]["severity"] = summaries[expected["alertname"]]["labels"]["severity"]
    cases["rule_files"] = [path.name for path in rule_files]
    file = tmp_path / "cases.yaml"
    file.write_text(yaml.safe_dump(cases))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
