"""Conditions and status tell the user of `kubectl get` the state of each document."""

from typing import Any

import pytest

from sipgw.config import documents_from_objects
from sipgw.config.status import STATUSES
from sipgw.operator.checks import Verdict
from sipgw.operator.conditions import (
    Condition,
    GatewayFacts,
    differs_beyond_counts,
    ignored_ports,
    merged,
    status_of,
)

Json = dict[str, Any]
NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
ACCEPTED = Verdict(is_accepted=True, reason="Accepted", message="")
REFUSED = Verdict(is_accepted=False, reason="Invalid", message="spec.x: found 1; allowed: 2")
UP = GatewayFacts(
    is_config_in_force=True,
    relays_wanted=3,
    relays_ready=3,
    relays_least=2,
    edges=2,
    calls=5,
    calls_by_route={"r": 4},
    calls_by_trunk={"t": 5},
)


def body(kind: str, name: str, **spec: Any) -> Json:
    return {
        "apiVersion": "sipgw.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "generation": 4},
        "spec": spec,
    }


ROUTE = body("BotRoute", "r", bots=[{"endpoint": "a:1", "weight": 9}, {"endpoint": "b:1"}])
TRUNK = body("SipTrunk", "t", sourceCidrs=["192.0.2.0/24"])
GATEWAY = body("SipGateway", "g")


def status(one: Json, verdict: Verdict = ACCEPTED, facts: GatewayFacts = UP, now: str = NOW) -> Json:
    documents, _ = documents_from_objects([one])
    every = (documents.gateway, *documents.trunks, *documents.routes)
    document = next((found for found in every if found.metadata.name == one["metadata"]["name"]), None)
    return status_of(one, document if verdict.is_accepted else None, verdict, facts, now)


def said(one: Json, type_: str) -> tuple[str, str]:
    condition = next(found for found in one["conditions"] if found["type"] == type_)
    return condition["status"], condition["reason"]


def test_a_gateway_that_takes_calls_shows_all_three_true_and_its_figures() -> None:
    for kind, one, figures in (
        ("BotRoute", ROUTE, {"match": "any call", "bot": "a:1 90%, b:1 10%", "callsNow": 4}),
        ("SipTrunk", TRUNK, {"auth": "192.0.2.0/24", "callsNow": 5}),
        (
            "SipGateway",
            GATEWAY,
            {
                "relays": {"wanted": 3, "ready": 3, "full": 0, "late": 0, "draining": 0},
                "calls": 5,
                "edges": 2,
            },
        ),
    ):
        made = status(one)
        assert {said(made, type_)[0] for type_ in ("Accepted", "Programmed", "Ready")} == {"True"}
        assert made["observedGeneration"] == 4
        assert figures.items() <= made.items()
        (programmed,) = [one for one in made["conditions"] if one["type"] == "Programmed"]
        # the message claims no more than is known
        assert programmed["message"] == "the registry serves it to edges and relays"
        STATUSES[kind].model_validate(made)  # as the CRD demands


def test_a_refused_document_says_why_and_keeps_the_words_of_its_last_version() -> None:
    told = {**ROUTE, "status": status(ROUTE)}
    refused = status(told, REFUSED)
    assert said(refused, "Accepted") == ("False", "Invalid")
    assert said(refused, "Programmed") == ("False", "NotAccepted")
    assert said(refused, "Ready") == ("False", "Invalid")
    assert refused["match"] == "any call"


def test_an_unreachable_registry_is_named_and_figures_stay_as_they_were() -> None:
    told = {**GATEWAY, "status": status(GATEWAY)}
    away = status(told, facts=GatewayFacts(registry_problem="registry: no answer"))
    assert said(away, "Accepted") == ("True", "Accepted")
    assert said(away, "Programmed") == ("False", "RegistryUnreachable")
    assert away["calls"] == 5


def test_ready_names_what_is_missing() -> None:
    facts = {"is_config_in_force": True, "relays_least": 2}
    for given, reason in (
        ({"relays_ready": 0, "edges": 1}, "NoRelay"),
        ({"relays_ready": 0, "relays_full": 2, "edges": 1}, "RelaysFull"),
        ({"relays_ready": 0, "relays_full": 1, "relays_late": 1, "edges": 1}, "RelaysFull"),
        ({"relays_ready": 0, "relays_late": 2, "edges": 1}, "RelaysLate"),
        ({"relays_ready": 1, "edges": 0}, "NoEdge"),
        ({"relays_ready": 1, "edges": 1}, "TooFewRelays"),
        ({"relays_ready": 2, "edges": 1, "is_config_in_force": False}, "Pending"),
    ):
        assert said(status(GATEWAY, facts=GatewayFacts(**{**facts, **given})), "Ready") == ("False", reason)


@pytest.mark.parametrize("word", ["relays_full", "relays_late"])
def test_a_full_or_late_relay_is_none_too_few(word: str) -> None:
    facts = GatewayFacts(is_config_in_force=True, relays_least=2, relays_ready=1, edges=1, **{word: 1})
    assert said(status(GATEWAY, facts=facts), "Ready") == ("True", "Ready")


def test_a_second_look_at_the_same_is_equal_and_only_a_new_status_moves_the_time() -> None:
    first = status(ROUTE)
    assert status({**ROUTE, "status": first}, now=LATER) == first
    changed = status({**ROUTE, "status": first}, REFUSED, now=LATER)
    times = {one["type"]: one["lastTransitionTime"] for one in changed["conditions"]}
    assert set(times.values()) == {LATER}
    reworded = Verdict(is_accepted=False, reason="Invalid", message="another field")
    again = status({**ROUTE, "status": changed}, reworded, now="2026-01-01T00:02:00Z")
    assert {one["lastTransitionTime"] for one in again["conditions"]} == {LATER}


def test_ports_without_effect_are_a_condition_of_the_gateway_alone() -> None:
    facts = GatewayFacts(ignored_ports="spec.sip.port 5070: the chart's value is 5060")
    (condition,) = [
        one for one in status(GATEWAY, facts=facts)["conditions"] if one["type"] == "PortsIgnored"
    ]
    assert (condition["status"], condition["message"]) == ("True", facts.ignored_ports)
    assert said(status(GATEWAY), "PortsIgnored") == ("False", "NoneSet")
    assert "PortsIgnored" not in {one["type"] for one in status(ROUTE, facts=facts)["conditions"]}


def test_conditions_of_others_stay() -> None:
    foreign = {"type": "Theirs", "status": "True"}
    assert foreign in merged([foreign], [Condition("Ready", is_true=True, reason="R", message="")], 1, NOW)


def test_counts_alone_may_wait() -> None:
    first = status(ROUTE)
    assert not differs_beyond_counts(first, {**first, "callsNow": 99})
    assert differs_beyond_counts(first, {**first, "bot": "c:1"})


def test_ports_of_a_gateway_that_the_cluster_has_otherwise_are_told() -> None:
    def told(**spec: Any) -> str:
        documents, _ = documents_from_objects([body("SipGateway", "g", **spec)])
        return ignored_ports(documents.gateway, 5060, (20000, 29599))

    assert told() == ""
    assert told(sip={"port": 5060}, rtp={"firstPort": 20000, "lastPort": 29599}) == ""
    assert "spec.sip.port 5070" in told(sip={"port": 5070})
    assert "spec.rtp 30000-30999" in told(rtp={"firstPort": 30000, "lastPort": 30999})
