"""Trunks of a real release: a Secret reaches the edges sealed, and is followed when it changes."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from clusterkit.callers import address_towards
from clusterkit.kubectl import eventually
from clusterkit.release import Release
from clusterkit.report import Report

from sipgw.siptest import CallRefused, Login, SipPhone

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

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
    """A trunk with a password, and nobody else."""
    release.wait_ready()
    yield
    release.kubectl.run("delete", "siptrunks/office", "secret/office-pbx", "--ignore-not-found")


def accepted(release: Release) -> tuple[str, str]:
    """The status and reason of the trunk's condition Accepted."""
    conditions = release.kubectl.get("siptrunks", "office").get("status", {}).get("conditions", [])
    return next(((one["status"], one["reason"]) for one in conditions if one["type"] == "Accepted"), ("", ""))


def status_of_call(release: Release, password: str | None) -> int:
    """The final answer to a call, by the first edge; 200 is hung up."""
    edge = release.edges()[0]

    async def call() -> int:
        login = Login("office-pbx", password) if password is not None else None
        async with await SipPhone.open(address_towards(edge)) as phone:
            try:
                made = await phone.call(f"sip:hello@{edge[0]}:{edge[1]}", login=login)
            except CallRefused as refused:
                return refused.status
            await made.hangup()
            return 200

    return asyncio.run(call())


def is_in_slowly(release: Release, password: str) -> bool:
    """A try a second: ten wrong ones in a minute, and the edge does not listen."""
    time.sleep(1)
    return status_of_call(release, password) == 200


@pytest.mark.usefixtures("office")
def test_a_trunks_password_is_followed_and_nobody_else_comes_in(release: Release, report: Report) -> None:
    release.kubectl.apply(OFFICE)
    eventually(lambda: accepted(release) == ("False", "SecretMissing"), 10, "the Secret is missed")
    release.kubectl.apply(secret("first"))
    eventually(lambda: accepted(release)[0] == "True", 10, "the trunk is accepted")
    eventually(lambda: is_in_slowly(release, "first"), 15, "the password is taken")
    assert status_of_call(release, None) == 401
    assert status_of_call(release, "second") == 403
    release.kubectl.apply(secret("second"))
    took_s = eventually(lambda: is_in_slowly(release, "second"), 15, "the new password is taken")
    assert status_of_call(release, "first") == 403
    report.add("trunk with a password", note=f"followed; a new password after {took_s:.1f} s")
