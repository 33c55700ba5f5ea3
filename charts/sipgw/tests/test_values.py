"""Wrong values are refused, with the reason."""

from typing import Any

import pytest
import yaml
from rendering import CHART, RenderingError, render

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
FREE_FORM = {
    *("commonLabels", "tls.certManager.issuerRef", "edge.service.annotations"),
    *("monitoring.podMonitor.labels", "monitoring.prometheusRule.labels", "monitoring.dashboards.labels"),
}
_POD_FREE_FORM = {"nodeSelector", "affinity", "podAnnotations", "requests", "limits"}


def _maps(values: dict[str, Any], path: str = "") -> list[str]:
    """Return every map of the values whose keys the chart defines."""
    found = [path]
    for key, value in values.items():
        name = f"{path}.{key}".lstrip(".")
        if isinstance(value, dict) and key not in _POD_FREE_FORM and name not in FREE_FORM:
            found += _maps(value, name)
    return found


def _at(path: str, key: str, value: object) -> dict[str, Any]:
    nested: dict[str, Any] = {key: value}
    for part in reversed([part for part in path.split(".") if part]):
        nested = {part: nested}
    return nested


@pytest.mark.parametrize("path", _maps(VALUES))
def test_a_name_that_is_not_there_is_refused(path: str) -> None:
    with pytest.raises(RenderingError, match=r"additional properties 'tpyo' not allowed"):
        render(values=_at(path, "tpyo", 1))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"relay": {"rtp": {"firstPort": 30000}}}, "firstPort"),
        ({"relay": {"rtp": {"firstPort": 40000}}}, "firstPort"),
        ({"relay": {"rtp": {"firstPort": 20001}}}, "firstPort"),
        ({"relay": {"rtp": {"firstPort": 22000}}}, r"22000 to 31599 .* meet the NodePorts"),
        ({"relay": {"rtp": {"firstPort": 24000}, "lanes": 8}}, "meet the NodePorts"),
        ({"relay": {"rtp": {"firstPort": 61000}}}, "end above 65535"),
        ({"relay": {"ports": {"step": 1}}}, r"host port 7101 is wanted by"),
        ({"relay": {"ports": {"control": 7030}}}, r"host port 7060 is wanted by .*edge.ports.api"),
        ({"edge": {"ports": {"sip": 20100}}}, "lies in the RTP ports"),
        ({"redis": {"enabled": False}}, "give redis.url"),
        ({"redis": {"url": "redis://elsewhere:6379"}}, "set redis.enabled to false"),
        ({"redis": {"enabled": False, "url": "http://elsewhere"}}, "redis/url"),
        ({"redis": {"password": "x", "passwordSecret": {"name": "mine"}}}, "one of them"),
        ({"redis": {"password": "line\n"}}, "redis/password"),
        ({"redis": {"enabled": False, "url": "redis://x", "password": "x"}}, "give redis.passwordSecret"),
        (
            {"redis": {"enabled": False, "urlSecret": {"name": "a"}, "passwordSecret": {"name": "b"}}},
            "has its password in it",
        ),
        ({"redis": {"passwordSecret": {"name": "sipgw-redis"}}}, "give yours another name"),
        ({"operator": {"enabled": False}, "tls": {"mode": "off"}}, "give redis.passwordSecret.name"),
        ({"operator": {"enabled": False}}, "use tls.mode cert-manager or off"),
        ({"edge": {"network": "service"}}, "give edge.advertise"),
        ({"tls": {"mode": "on"}}, "tls/mode"),
        ({"relay": {"lanes": 9}}, "relay/lanes"),
    ],
)
def test_values_that_cannot_work_are_refused_with_the_reason(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(RenderingError, match=reason):
        render(values=values)


def test_the_readme_names_every_value() -> None:
    readme = (CHART / "README.md").read_text()

    def leaves(values: dict[str, Any], path: str = "") -> list[str]:
        found: list[str] = []
        for key, value in values.items():
            name = f"{path}.{key}".lstrip(".")
            is_branch = isinstance(value, dict) and value and key not in {"resources", "labels"}
            found += leaves(value, name) if is_branch else [name]
        return found

    missing = [name for name in leaves(VALUES) if f"| {name} |" not in readme]
    assert not missing, "run make chart-docs"
