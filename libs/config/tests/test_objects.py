"""Documents from Kubernetes: a fault in one object stops no other."""

import base64
from typing import Any

from sipgw.config import documents_from_objects


def made(kind: str, name: str, spec: dict[str, Any] | None = None, *, age: int = 0) -> dict[str, Any]:
    """Return an object as the API gives it; ``age`` orders creation."""
    return {
        "apiVersion": "sipgw.io/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "telephony",
            "uid": "6fc9",
            "generation": 3,
            "creationTimestamp": f"2026-11-25T00:00:{59 - age:02}Z",
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        },
        "status": {"conditions": [{"type": "Accepted", "status": "True"}]},
        **({"spec": spec} if spec is not None else {}),
    }


def route(name: str, *trunks: str, **spec: Any) -> dict[str, Any]:
    match = {"match": {"trunks": [*trunks]}} if trunks else {}
    return made("BotRoute", name, {"bots": [{"endpoint": "bot:9090"}], **match, **spec})


def digest(name: str, username: str = "alice", *, age: int = 0) -> dict[str, Any]:
    auth = {"digest": {"username": username, "secretRef": {"name": "pbx", "key": "password"}}}
    return made("SipTrunk", name, {"auth": auth}, age=age)


def secret(name: str = "pbx", **values: str) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data, "type": "Opaque"}


def test_objects_become_documents():
    objects = [
        made("SipGateway", "sipgw", {}),
        made("SipTrunk", "carrier", {"sourceCidrs": ["::1"]}),
        route("a", "carrier"),
    ]
    documents, problems = documents_from_objects(objects)
    assert problems == {}
    assert documents.gateway.metadata.name == "sipgw"
    assert [trunk.metadata.name for trunk in documents.trunks] == ["carrier"]
    assert [one.metadata.name for one in documents.routes] == ["a"]


def test_no_objects_are_the_built_in_gateway():
    documents, problems = documents_from_objects([])
    assert (documents.gateway.metadata.name, documents.trunks, documents.routes, problems) == (
        "sipgw",
        (),
        (),
        {},
    )


def test_a_wrong_object_is_left_out_and_named_and_the_others_serve():
    objects = [
        route("good"),
        route("bad", answer="bot_ready"),
        route("worse", match={"to": {"regex": "(a+)+x"}}),
        made("SipTrunk", "t", {"sourceCidrs": ["1.2.3"]}),
    ]
    documents, problems = documents_from_objects(objects)
    assert [one.metadata.name for one in documents.routes] == ["good"]
    assert set(problems) == {("BotRoute", "bad"), ("BotRoute", "worse"), ("SipTrunk", "t")}
    (problem,) = problems["BotRoute", "bad"]
    assert (problem.field, problem.found, problem.allowed) == (
        "spec.answer",
        "'bot_ready'",
        "bot-ready, immediate",
    )
    assert str(problem).startswith("BotRoute/bad: spec.answer: found")


def test_of_two_gateways_the_older_holds():
    young, old = made("SipGateway", "a", {"limits": {"maxCalls": 1}}), made("SipGateway", "b", {}, age=9)
    documents, problems = documents_from_objects([young, old])
    assert documents.gateway.metadata.name == "b"
    (problem,) = problems["SipGateway", "a"]
    assert problem.allowed == "one SipGateway (b is there)"


def test_a_route_serves_the_trunks_that_there_are_and_says_which_are_not():
    documents, problems = documents_from_objects(
        [route("a", "carrier", "carier"), made("SipTrunk", "carrier", {"sourceCidrs": ["::1"]})]
    )
    assert [one.metadata.name for one in documents.routes] == ["a"]
    (problem,) = problems["BotRoute", "a"]
    assert (problem.field, problem.hint) == ("spec.match.trunks[1]", "did you mean carrier?")


def test_a_trunk_with_a_problem_is_no_unknown_trunk():
    broken = made("SipTrunk", "carrier", {"sourceCidrs": ["x"]})
    _, problems = documents_from_objects([route("a", "carrier"), broken])
    assert set(problems) == {("SipTrunk", "carrier")}


def test_passwords_come_from_secrets():
    documents, problems = documents_from_objects([digest("pbx"), secret(password="hunter2")])
    assert problems == {}
    (trunk,) = documents.trunks
    assert trunk.spec.auth is not None
    assert documents.secrets.password(trunk.spec.auth.digest.secret_ref) == b"hunter2"


def test_a_trunk_without_its_secret_lets_nobody_in_and_says_why():
    for objects in ([digest("pbx")], [digest("pbx"), secret(other="x")]):
        documents, problems = documents_from_objects(objects)
        assert documents.trunks == ()
        (problem,) = problems["SipTrunk", "pbx"]
        assert problem.field == "spec.auth.digest.secretRef"


def test_of_two_trunks_with_one_user_name_the_older_holds():
    objects = [digest("young"), digest("old", age=5), secret(password="x")]
    documents, problems = documents_from_objects(objects)
    assert [trunk.metadata.name for trunk in documents.trunks] == ["old"]
    assert set(problems) == {("SipTrunk", "young")}


def test_an_open_trunk_is_left_out_beside_one_with_auth_even_when_that_has_no_secret():
    documents, problems = documents_from_objects([made("SipTrunk", "any", {}), digest("pbx")])
    assert documents.trunks == ()
    assert ("SipTrunk", "any") in problems


def test_objects_of_any_shape_raise_nothing():
    shapes: list[dict[str, Any]] = [
        {},
        {"kind": "BotRoute"},
        {"kind": 5, "metadata": 7},
        {"kind": "SipTrunk", "metadata": {"name": []}, "spec": None},
        {"kind": "Secret", "data": [1]},
    ]
    documents, problems = documents_from_objects([*shapes, route("good")])
    assert [one.metadata.name for one in documents.routes] == ["good"]
    assert all(found for found in problems.values())
