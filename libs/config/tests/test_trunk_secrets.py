"""Trunks that authenticate, and the Secrets with their passwords."""

import pytest

from sipgw.config import ConfigError, ConfigProblem, load_documents

OPEN = """\
apiVersion: sipgw.io/v1alpha1
kind: SipTrunk
metadata: {name: carrier}
"""
DIGEST = """\
apiVersion: sipgw.io/v1alpha1
kind: SipTrunk
metadata: {name: %s}
spec: {auth: {digest: {username: %s, secretRef: {name: pbx}}}}
---
"""
SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: pbx}
stringData: {password: hunter2}
---
"""


def problem_of(text: str) -> ConfigProblem:
    with pytest.raises(ConfigError) as caught:
        load_documents(text)
    (problem,) = caught.value.problems
    return problem


def test_a_trunk_is_known_in_one_way_only():
    problem = problem_of(
        f"{SECRET}{DIGEST % ('pbx', 'alice')}".replace("{auth:", "{sourceCidrs: [10.0.0.1], auth:")
    )
    assert (problem.field, problem.found) == ("spec", "sourceCidrs and auth")


def test_no_two_trunks_have_one_user_name():
    problem = problem_of(f"{SECRET}{DIGEST % ('a', 'alice')}{DIGEST % ('b', 'alice')}")
    assert (problem.line, problem.field) == (14, "spec.auth.digest.username")
    assert problem.found == "'alice', which SipTrunk a has"


def test_an_open_trunk_would_take_the_calls_of_one_with_auth():
    problem = problem_of(f"{SECRET}{DIGEST % ('pbx', 'alice')}{OPEN}")
    assert (problem.line, problem.field) == (11, "spec.sourceCidrs")
    assert "SipTrunk pbx" in problem.found


@pytest.mark.parametrize(
    ("secret", "found"),
    [
        ("", "'pbx', but no such Secret exists"),
        (SECRET.replace("pbx", "other"), "'pbx', but no such Secret exists"),
        (SECRET.replace("password", "pass"), "key 'password', which Secret 'pbx' does not have"),
        (SECRET.replace("hunter2", "''"), "a value of 0 bytes that is no password"),
        (SECRET.replace("hunter2", "x" * 257), "a value of 257 bytes that is no password"),
    ],
)
def test_a_password_has_to_be_there(secret: str, found: str):
    problem = problem_of(f"{secret}{DIGEST % ('pbx', 'alice')}")
    assert (problem.field, problem.found) == ("spec.auth.digest.secretRef", found)


def test_a_secret_is_read_as_kubernetes_reads_it():
    secret = SECRET.replace("stringData: {password: hunter2}", "data: {password: aHVudGVyMg==}")
    (trunk,) = (documents := load_documents(f"{secret}{DIGEST % ('pbx', 'alice')}")).trunks
    assert trunk.spec.auth is not None
    assert documents.secrets.password(trunk.spec.auth.digest.secret_ref) == b"hunter2"


@pytest.mark.parametrize(
    "data",
    ["data: {password: hunter2!}", "data: {password: 5}", "stringData: {password: 5}", "data: hunter2!"],
)
def test_no_message_and_no_repr_shows_a_secret(data: str):
    problem = problem_of(SECRET.replace("stringData: {password: hunter2}", data))
    assert "not shown" in str(problem)
    assert "hunter2" not in str(problem)
    assert "hunter2" not in repr(load_documents(f"{SECRET}{DIGEST % ('pbx', 'alice')}"))
