"""Trunks and routes as custom resources: applied, followed, refused."""

import json
import time
from collections.abc import Iterator

import pytest
from clusterkit.bots import Bots
from clusterkit.callers import Callers, address_towards
from clusterkit.kubectl import eventually
from clusterkit.release import Release
from clusterkit.report import Report
from resources import await_route, condition, document, gateway, remove_all, route

from sipgw.siptest import CallRefused

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240, func_only=True)]


@pytest.fixture(autouse=True)
def clean(release: Release) -> Iterator[None]:
    release.kubectl.apply(gateway())
    yield
    remove_all(release.kubectl)


def _trunk(release: Release) -> dict[str, object]:
    return document("SipTrunk", "carrier", {"sourceCidrs": [f"{address_towards(release.edges()[0])}/32"]})


def _status_of_call(callers: Callers, user: str) -> int:
    """Call and return the final response's status; hang up after a 200."""
    try:
        callers.dial(1, user=user)
    except CallRefused as refused:
        return refused.status
    callers.hang_up()
    return 200


def _seconds_until_answered(callers: Callers, user: str, limit_s: float = 10) -> float:
    """Return how long a number is refused, calling every edge until it is answered."""
    began = refused_at = time.monotonic()
    edges = list(callers.edges)
    while edges:
        try:
            callers.edges = edges[:1]
            callers.dial(1, user=user, per_second=100)
            edges.pop(0)
        except CallRefused:
            refused_at = time.monotonic()
            assert refused_at - began < limit_s, f"{user} is still refused"
    return refused_at - began


def test_a_route_is_followed_by_every_edge_within_two_seconds(
    release: Release, callers: Callers, bots: Bots, report: Report
) -> None:
    endpoint = bots.start("sales")
    release.kubectl.apply(_trunk(release), route("closed", ("builtin:echo", 1), to={"exact": "nobody"}))

    for edge in list(callers.edges):
        callers.edges = [edge]
        eventually(lambda: _status_of_call(callers, "+4930123") == 404, 10, f"no default route at {edge}")
    callers.edges = release.edges()
    release.kubectl.apply(route("sales", (endpoint, 1), to={"prefix": "+49"}, trunks=["carrier"]))
    took_s = _seconds_until_answered(callers, "+4930123")
    report.add("a route applied", note=f"all edges followed in {took_s:.2f} s after kubectl apply returned")
    assert took_s < 2
    live = len(callers.calls)

    def shows_calls() -> bool:
        words = release.kubectl.run("get", "botroute", "sales", "--no-headers").split()
        status = release.kubectl.get("botroute", "sales").get("status", {})
        return status.get("callsNow", 0) >= 2 and endpoint in words

    eventually(shows_calls, 30, f"kubectl get botroutes shows the bot and its {live} calls")
    assert condition(release.kubectl, "botroute", "sales", "Ready")["status"] == "True"
    assert len(bots.said("sales", "call_started")) >= 2


def test_calls_are_spread_by_weight_and_a_canary_is_taken_back_at_once(
    release: Release, callers: Callers, bots: Bots, report: Report
) -> None:
    stable, canary = bots.start("stable"), bots.start("canary")
    release.kubectl.apply(_trunk(release), route("all", (stable, 3), (canary, 1)))

    def reached() -> tuple[int, int]:
        return len(bots.said("stable", "call_started")), len(bots.said("canary", "call_started"))

    await_route(release, callers, "all")
    before = reached()
    callers.dial(40)
    callers.hang_up()
    eventually(lambda: sum(reached()) >= sum(before) + 40, 10, "all calls are in the bots' logs")
    share = (reached()[1] - before[1]) / 40
    report.add("canary of weight 1 in 4", note=f"{share:.0%} of 40 calls")
    assert 0.05 <= share <= 0.5
    release.kubectl.apply(
        route("all", (stable, 1), (canary, 0)),
        route("later", ("builtin:echo", 1), priority=1, to={"exact": "later"}),
    )
    await_route(release, callers, "later")  # and with it the new weights
    before = reached()
    callers.dial(10)
    callers.hang_up()
    eventually(lambda: reached()[0] >= before[0] + 10, 10, "all calls at the stable bot")
    assert reached()[1] == before[1], "the canary gets no call any more"


def test_wrong_documents_are_refused_at_apply_or_say_what_is_wrong_and_calls_go_on(
    release: Release, callers: Callers, report: Report
) -> None:
    release.kubectl.apply(_trunk(release), route("all", ("builtin:echo", 1)))
    eventually(
        lambda: condition(release.kubectl, "botroute", "all", "Ready").get("status") == "True", 10, "a route"
    )
    refused = {
        "spec.bots": route("none"),
        "weight": route("nothing", ("bot:9090", 0)),
        "sourceCidrs": document("SipTrunk", "bits", {"sourceCidrs": ["10.0.0.1/8"]}),
        "exactly one": route("two", ("bot:9090", 1), to={"exact": "1", "prefix": "1"}),
    }
    for field, wrong in refused.items():
        answer = release.kubectl.ask("apply", "-f", "-", text=json.dumps(wrong))
        assert answer.status != 0, f"{wrong} was taken"
        assert field in answer.error, answer.error
    release.kubectl.apply(
        document(
            "SipTrunk", "office", {"auth": {"digest": {"username": "pbx", "secretRef": {"name": "missing"}}}}
        )
    )

    def is_explained() -> bool:
        said = condition(release.kubectl, "siptrunk", "office", "Accepted")
        return said.get("status") == "False" and "missing" in said["message"]

    eventually(is_explained, 10, "the trunk says that its Secret is missing")
    callers.dial(2)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "missing"},
        "stringData": {"password": "open sesame"},
    }
    release.kubectl.apply(secret)
    took_s = eventually(
        lambda: condition(release.kubectl, "siptrunk", "office", "Accepted").get("status") == "True",
        10,
        "the Secret is followed",
    )
    release.kubectl.run("delete", "secret", "missing")
    report.add(
        "wrong documents", callers.findings(), f"{len(refused)} refused, Secret followed in {took_s:.1f} s"
    )
