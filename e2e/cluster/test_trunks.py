"""Trunks of a real release: a Secret reaches the edges encrypted, and its changes are followed."""

import asyncio
import re
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from clusterkit.callers import address_towards
from clusterkit.commands import Commands
from clusterkit.kubectl import eventually
from clusterkit.release import Address, Release
from clusterkit.report import Report
from gatewaykit.howto import HowTo
from resources import remove_all

from sipgw.siptest import CallRefused, Login, SipPhone

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180, func_only=True)]

OFFICE: dict[str, Any] = {
    "apiVersion": "sipgw.io/v1alpha1",
    "kind": "SipTrunk",
    "metadata": {"name": "office"},
    "spec": {"auth": {"digest": {"username": "office-pbx", "secretRef": {"name": "office-pbx"}}}},
}


def secret(password: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "office-pbx"},
        "stringData": {"password": password},
    }


@pytest.fixture
def office(release: Release) -> Iterator[None]:
    """A trunk with a password, and no other trunk."""
    release.wait_ready()
    yield
    remove_all(release.kubectl)
    release.kubectl.run("delete", "secret/office-pbx", "--ignore-not-found")
    eventually(lambda: statuses_of_calls(release, None) == {200}, 20, "everybody may call again")


def accepted(release: Release) -> tuple[str, str]:
    """Return the status and reason of the trunk's condition Accepted."""
    conditions = release.kubectl.get("siptrunks", "office").get("status", {}).get("conditions", [])
    return next(((one["status"], one["reason"]) for one in conditions if one["type"] == "Accepted"), ("", ""))


def statuses_of_calls(release: Release, password: str | None, user: str = "hello") -> set[int]:
    """Call each edge and return the final responses' statuses; hang up after a 200."""
    login = Login("office-pbx", password) if password is not None else None

    async def call(edge: Address) -> int:
        async with await SipPhone.open(address_towards(edge)) as phone:
            try:
                made = await phone.call(f"sip:{user}@{edge[0]}:{edge[1]}", login=login)
            except CallRefused as refused:
                return refused.status
            await made.hangup()
            return 200

    return {asyncio.run(call(edge)) for edge in release.edges()}


def eventually_in(release: Release, password: str, what: str) -> float:
    """Try once a second, since after ten wrong passwords in a minute the edge refuses without a check."""
    return eventually(lambda: statuses_of_calls(release, password) == {200}, 15, what, every_s=1)


@pytest.mark.usefixtures("office")
def test_a_trunks_password_is_followed_and_nobody_else_comes_in(release: Release, report: Report) -> None:
    release.kubectl.apply(OFFICE)
    eventually(lambda: accepted(release) == ("False", "SecretMissing"), 10, "the Secret is missed")
    release.kubectl.apply(secret("first"))
    eventually(lambda: accepted(release)[0] == "True", 10, "the trunk is accepted")
    eventually(lambda: statuses_of_calls(release, None) == {401}, 15, "every edge asks for a password")
    eventually_in(release, "first", "the password is taken")
    assert statuses_of_calls(release, "second") == {403}
    release.kubectl.apply(secret("second"))
    took_s = eventually_in(release, "second", "the new password is taken")
    assert statuses_of_calls(release, "first") == {403}
    report.add("trunk with a password", note=f"followed; a new password after {took_s:.1f} s")


@pytest.mark.usefixtures("office")
def test_helm_test_needs_a_trunk_of_its_own(release: Release, tmp_path: Path, report: Report) -> None:
    release.kubectl.apply(OFFICE, secret("first"))
    eventually(lambda: statuses_of_calls(release, None) == {401}, 15, "every edge asks for a password")
    how_to = HowTo.read("add-a-trunk")
    (step,) = how_to.steps_of("helm test")
    apply, test = step.command.splitlines()
    commands = Commands(release.kubectl, tmp_path)
    with pytest.raises(AssertionError, match=r"Phase:\s+Failed"):
        commands.run(test)
    document = how_to.files["helm-test.yaml"].replace("10.244.0.0/16", ", ".join(networks(release)))
    (tmp_path / "helm-test.yaml").write_text(document)
    commands.run(apply, tmp_path)
    eventually(lambda: statuses_of_calls(release, None, "test") == {200}, 15, "the edges follow")
    assert statuses_of_calls(release, None) == {404}, "to no other number"
    assert re.search(r"Phase:\s+Succeeded", commands.run(test))
    report.add("helm test beside a trunk", note="fails without, succeeds with its own trunk and route")


def networks(release: Release) -> list[str]:
    """Return the networks of pods and nodes, and ours, which shows that an edge has taken the change."""
    pods = {str(ip_network(f"{pod['status']['podIP']}/16", strict=False)) for pod in release.pods("registry")}
    nodes = {pod["status"]["hostIP"] for pod in release.pods()}
    return [*pods, *(f"{address}/32" for address in {*nodes, address_towards(release.edges()[0])})]
