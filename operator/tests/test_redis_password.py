"""The password of the release's own Redis, over virtual time."""

import base64
from typing import Any

import pytest

from sipgw.operator.errors import KubeForbidden
from sipgw.operator.redis_password import ANNOTATION, RedisPasswordKeeper

from .conftest import FakeKube, ManualClock

Json = dict[str, Any]
SECRET = "/api/v1/namespaces/ns/secrets/gw-redis"
REDIS = "/apis/apps/v1/namespaces/ns/statefulsets/gw-redis"
CREDENTIALS = SECRET.rpartition("/")[0]


def keeper(kube: FakeKube, clock: ManualClock, secret: str = "gw-redis") -> RedisPasswordKeeper:
    return RedisPasswordKeeper(kube, secret, namespace="ns", release="gw", clock=clock)  # type: ignore[arg-type]


@pytest.fixture
def rendered(kube: FakeKube) -> FakeKube:
    """Return the objects as the chart leaves them: an empty Secret, and Redis waiting for its password."""
    metadata: Json = {"generation": 1, "resourceVersion": "1"}
    kube.objects[SECRET] = {"metadata": {"name": "gw-redis", **metadata}, "type": "Opaque"}
    kube.objects[REDIS] = {"metadata": {"name": "gw-redis", **metadata}, "spec": {"template": {}}}
    return kube


def password(kube: FakeKube) -> str:
    return base64.b64decode(kube.objects[SECRET]["data"]["password"]).decode()


def conf(kube: FakeKube) -> str:
    return base64.b64decode(kube.objects[SECRET]["data"]["password.conf"]).decode()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def set_password(kube: FakeKube, text: str) -> None:
    kube.objects[SECRET].setdefault("data", {})["password"] = encoded(text)


def restarts(kube: FakeKube) -> str:
    """Return the annotation of Redis's pod template whose change makes Kubernetes replace the pod."""
    return (
        kube.objects[REDIS]["spec"]["template"].get("metadata", {}).get("annotations", {}).get(ANNOTATION, "")
    )


async def test_the_empty_secret_is_filled_once_and_then_left_alone(
    rendered: FakeKube, clock: ManualClock
) -> None:
    await keeper(rendered, clock).ensure()
    first = password(rendered)
    assert len(first) == 64
    assert rendered.objects[SECRET]["metadata"]["name"] == "gw-redis"
    rendered.written()
    for _ in range(3):
        clock.move(60)
        await keeper(rendered, clock).ensure()  # each time a new replica
    assert password(rendered) == first
    assert rendered.written() == []
    assert not restarts(rendered), "Redis started with it"


async def test_redis_is_told_the_password_that_is_in_the_secret(
    rendered: FakeKube, clock: ManualClock
) -> None:
    kept = keeper(rendered, clock)
    await kept.ensure()
    assert conf(rendered) == f'requirepass "{password(rendered)}"\n'
    set_password(rendered, 'a "b" \\ü\n')  # by hand, and only the password
    await kept.ensure()
    assert conf(rendered) == 'requirepass "a \\"b\\" \\\\ü\\x0a"\n'
    rendered.objects[SECRET]["data"]["password.conf"] = encoded("requirepass other\n")
    await kept.ensure()
    assert conf(rendered) == 'requirepass "a \\"b\\" \\\\ü\\x0a"\n'


async def test_two_installs_have_two_passwords(clock: ManualClock) -> None:
    clusters = [FakeKube(), FakeKube()]
    for kube in clusters:
        await keeper(kube, clock).ensure()
    assert password(clusters[0]) != password(clusters[1])


async def test_the_password_of_an_earlier_chart_is_kept(rendered: FakeKube, clock: ManualClock) -> None:
    set_password(rendered, "DrawnByHelm")
    rendered.objects[SECRET]["data"]["password.conf"] = encoded("requirepass DrawnByHelm\n")
    await keeper(rendered, clock).ensure()
    assert password(rendered) == "DrawnByHelm"
    assert rendered.written(SECRET) == []
    assert not restarts(rendered)


async def test_a_secret_of_somebody_elses_is_never_made_nor_filled(
    rendered: FakeKube, clock: ManualClock
) -> None:
    await keeper(rendered, clock, "theirs").ensure()
    rendered.objects[f"{CREDENTIALS}/theirs"] = {"metadata": {"name": "theirs"}, "data": {"other": ""}}
    await keeper(rendered, clock, "theirs").ensure()
    assert rendered.written() == []


async def test_another_password_restarts_redis_once_when_all_have_its_file(
    rendered: FakeKube, clock: ManualClock
) -> None:
    kept = keeper(rendered, clock)
    await kept.ensure()
    set_password(rendered, "another")
    seen: list[str] = []
    for _ in range(5):
        await kept.ensure()
        seen.append(restarts(rendered))
        clock.move(60)
    assert seen[:2] == ["", ""]
    assert seen[2]
    assert seen[2:] == seen[2:3] * 3
    assert "another" not in seen[2]


async def test_a_change_while_no_operator_looked_is_seen(rendered: FakeKube, clock: ManualClock) -> None:
    await keeper(rendered, clock).ensure()
    set_password(rendered, "another")
    later = keeper(rendered, clock)
    await later.ensure()
    clock.move(120)
    await later.ensure()
    assert restarts(rendered)


async def test_a_right_that_is_missing_costs_the_restart_and_no_pass(
    rendered: FakeKube, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge = rendered.merge

    async def refuse(path: str, body: Json) -> Json:
        if path == REDIS:
            raise KubeForbidden(403, "no patch")
        return await merge(path, body)

    monkeypatch.setattr(rendered, "merge", refuse)
    assert await keeper(rendered, clock).ensure() == []
    assert password(rendered)
