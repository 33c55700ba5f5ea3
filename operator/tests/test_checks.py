"""The operator makes the config from custom resources, and reports wrong ones."""

from typing import Any

from sipgw.api.config.v1.config_pb2 import GatewayConfig
from sipgw.config import SealKey
from sipgw.operator.checks import Checked, check, differs

KEY = SealKey(b"k" * 32)
Json = dict[str, Any]


def body(kind: str, name: str, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> Json:
    return {
        "apiVersion": "sipgw.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "creationTimestamp": created, "generation": 1},
        "spec": spec,
    }


def route(name: str, bot: str = "bot:9090", **spec: Any) -> Json:
    return body("BotRoute", name, bots=[{"endpoint": bot}], **spec)


def checked(*objects: Json, present: GatewayConfig | None = None, secrets: tuple[Json, ...] = ()) -> Checked:
    return check(objects, secrets, present=present, seal_key=KEY)


def bots(config: GatewayConfig) -> dict[str, str]:
    return {one.name: one.bots[0].endpoint for one in config.routes}


WRONG = {"match": {"to": {"regex": "(a*)*b"}}}


def test_nothing_is_the_built_in_echo_for_calls_from_anywhere() -> None:
    config = checked().config
    assert bots(config) == {"default": "builtin:echo"}
    assert [(one.name, list(one.source_cidrs)) for one in config.trunks] == [("any", [])]


def test_a_route_of_ones_own_takes_the_place_of_the_built_in_one_also_when_it_is_wrong() -> None:
    assert bots(checked(route("sales")).config) == {"sales": "bot:9090"}
    refused = checked(route("sales", **WRONG))
    assert bots(refused.config) == {}
    assert not refused.verdicts["BotRoute", "sales"].is_accepted


def test_a_wrong_document_costs_the_others_nothing() -> None:
    result = checked(route("sales", **WRONG), route("help"))
    assert bots(result.config) == {"help": "bot:9090"}
    verdict = result.verdicts["BotRoute", "sales"]
    assert (verdict.is_accepted, verdict.reason, verdict.keeps_last_good) == (False, "Invalid", False)
    assert verdict.message.startswith("spec.match.to.regex: found")


def test_the_last_good_version_of_a_wrong_document_serves_on() -> None:
    present = checked(route("sales", "good:9090", priority=7), route("help")).config
    result = checked(route("sales", "new:9090", **WRONG), route("help", "new:9090"), present=present)
    assert bots(result.config) == {"sales": "good:9090", "help": "new:9090"}
    assert [one.name for one in result.config.routes] == ["sales", "help"]  # "sales" keeps its old priority
    assert result.verdicts["BotRoute", "sales"].keeps_last_good
    deleted = checked(route("help", "new:9090"), present=present)
    assert bots(deleted.config) == {"help": "new:9090"}


def test_the_last_good_gateway_serves_on_with_the_addresses_of_now() -> None:
    present = checked(body("SipGateway", "main", limits={"maxCalls": 7})).config
    wrong = body("SipGateway", "main", limits={"maxCalls": -1})
    result = check([wrong], (), present=present, seal_key=KEY, addresses={"n1": "192.0.2.1"})
    assert result.config.gateway.max_calls == 7
    assert dict(result.config.gateway.advertised_addresses) == {"n1": "192.0.2.1"}
    assert not result.has_gateway
    named_as_the_default = checked(body("SipGateway", "sipgw", limits={"maxCalls": -1}))
    assert not named_as_the_default.verdicts["SipGateway", "sipgw"].is_accepted


def test_what_excludes_an_older_document_is_refused_and_does_not_serve_on() -> None:
    young = body("SipTrunk", "any", "2026-02-01T00:00:00Z")
    present = checked(young, route("r")).config
    auth = {"digest": {"username": "pbx", "secretRef": {"name": "pbx"}}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pbx"}, "data": {"password": "cHc="}}
    result = checked(
        young, body("SipTrunk", "office", auth=auth), route("r"), present=present, secrets=(secret,)
    )
    assert [one.name for one in result.config.trunks] == ["office"]
    assert not result.verdicts["SipTrunk", "any"].is_accepted


def test_a_route_that_names_a_trunk_that_is_not_there_serves_the_others_and_says_so() -> None:
    result = checked(body("SipTrunk", "a"), route("r", match={"trunks": ["a", "b"]}))
    verdict = result.verdicts["BotRoute", "r"]
    assert (verdict.is_accepted, verdict.is_resolved, verdict.reason) == (True, False, "UnresolvedReference")
    assert "'b'" in verdict.message
    assert bots(result.config) == {"r": "bot:9090"}


def test_a_missing_secret_is_named_and_the_trunk_serves_on_with_the_last_password() -> None:
    auth = {"digest": {"username": "pbx", "secretRef": {"name": "pbx"}}}
    office = body("SipTrunk", "office", auth=auth)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pbx"}, "data": {"password": "cHc="}}
    present = checked(office, secrets=(secret,)).config
    result = checked(office, present=present)
    assert result.verdicts["SipTrunk", "office"].reason == "SecretMissing"
    assert result.config.trunks[0].digest == present.trunks[0].digest


def test_the_same_documents_in_any_order_change_nothing() -> None:
    objects = [route("a"), route("b", priority=3), body("SipTrunk", "t"), body("SipGateway", "g")]
    present = GatewayConfig(epoch="e", version=9)
    present.MergeFrom(checked(*objects).config)
    assert not differs(checked(*reversed(objects), present=present).config, present)
    assert differs(checked(*objects[1:], present=present).config, present)
    assert differs(checked().config, None)
