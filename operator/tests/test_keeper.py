"""Certificates in Secrets, over virtual time."""

import base64
from pathlib import Path

import pytest

from sipgw.config import SealKey
from sipgw.operator.errors import KubeConflict
from sipgw.operator.kept_secrets import KeptSecrets
from sipgw.operator.pki.keeper import CertificateKeeper, keep_in_files
from sipgw.operator.resources import secrets as manifests
from sipgw.runtime.tls import TlsDirectory

from .conftest import FakeKube, ManualClock

ROLES = ("edge", "relay", "registry", "operator")
DAY_S = 86_400.0
SECRETS = "/api/v1/namespaces/ns/secrets"


@pytest.fixture
def keeper(kube: FakeKube, clock: ManualClock) -> CertificateKeeper:
    return CertificateKeeper(kube, namespace="ns", release="gw", clock=clock)  # type: ignore[arg-type]


async def test_all_secrets_are_made_at_once_and_then_left_alone(
    keeper: CertificateKeeper, kube: FakeKube
) -> None:
    assert await keeper.ensure() == []
    names = {path.rpartition("/")[2] for path in kube.objects}
    assert names == {"gw-ca", "gw-tls-edge", "gw-tls-relay", "gw-tls-registry", "gw-tls-operator"}
    kube.written()
    await keeper.ensure()
    assert kube.written() == []


async def test_what_was_renewed_is_named(
    keeper: CertificateKeeper, kube: FakeKube, clock: ManualClock
) -> None:
    await keeper.ensure()
    clock.move(21 * DAY_S)
    assert set(await keeper.ensure()) == {
        f"gw-tls-{role}" for role in ("edge", "relay", "registry", "operator")
    }


async def test_a_deleted_leaf_comes_back_from_the_same_ca(keeper: CertificateKeeper, kube: FakeKube) -> None:
    await keeper.ensure()
    ca = kube.objects[f"{SECRETS}/gw-ca"]["data"]["tls.crt"]
    del kube.objects[f"{SECRETS}/gw-tls-edge"]
    await keeper.ensure()
    assert kube.objects[f"{SECRETS}/gw-tls-edge"]["data"]["ca.crt"] == ca


async def test_a_secret_of_another_type_is_not_overwritten(keeper: CertificateKeeper, kube: FakeKube) -> None:
    kube.objects[f"{SECRETS}/gw-tls-edge"] = {
        "metadata": {"name": "gw-tls-edge", "resourceVersion": "1", "generation": 1},
        "type": "Opaque",
        "data": {},
    }
    with pytest.raises(KubeConflict, match="delete it"):
        await keeper.ensure()


async def test_the_operators_own_leaf_lands_in_files_that_tls_reads(
    keeper: CertificateKeeper, kube: FakeKube, tmp_path: Path
) -> None:
    directory = tmp_path / "tls"
    assert not await keep_in_files(lambda: keeper.read_leaf("operator"), directory)
    await keeper.ensure()
    assert await keep_in_files(lambda: keeper.read_leaf("operator"), directory)
    leaf = manifests.read_leaf(kube.objects[f"{SECRETS}/gw-tls-operator"])
    assert leaf is not None
    assert TlsDirectory(directory).current().certificate == leaf.pair.certificate
    assert (directory / "tls.key").stat().st_mode & 0o077 == 0


async def test_the_seal_key_is_made_once_and_shared_by_replicas(kube: FakeKube, clock: ManualClock) -> None:
    replicas = [
        KeptSecrets(kube, [], namespace="ns", release="gw", clock=clock)  # type: ignore[arg-type]
        for _ in range(2)
    ]
    first, second = [await one.seal_key() for one in replicas]
    assert first.seal(b"x", "p") == second.seal(b"x", "p")
    assert await replicas[0].keep() == []


def seal_secret(kube: FakeKube) -> dict[str, str]:
    return kube.objects[f"{SECRETS}/gw-seal"]["data"]


async def test_another_seal_key_is_used_when_the_edges_have_its_file(
    kube: FakeKube, clock: ManualClock
) -> None:
    kept = KeptSecrets(kube, [], namespace="ns", release="gw", clock=clock)  # type: ignore[arg-type]
    first = await kept.seal_key()
    seal_secret(kube)["seal.key"] = base64.b64encode(b"n" * 64).decode()
    sealed: list[bytes] = []
    for _ in range(4):
        await kept.keep()
        sealed.append((await kept.seal_key()).seal(b"x", "p"))
        clock.move(60)
    assert sealed[:2] == [first.seal(b"x", "p")] * 2
    assert sealed[2:] == [SealKey(b"n" * 64).seal(b"x", "p")] * 2


async def test_a_deleted_seal_key_comes_back_and_a_broken_one_is_not_taken(
    kube: FakeKube, clock: ManualClock
) -> None:
    kept = KeptSecrets(kube, [], namespace="ns", release="gw", clock=clock)  # type: ignore[arg-type]
    first = await kept.seal_key()
    before = dict(seal_secret(kube))
    del kube.objects[f"{SECRETS}/gw-seal"]
    await kept.keep(at_once=True)
    assert seal_secret(kube) == before
    seal_secret(kube)["seal.key"] = base64.b64encode(b"short").decode()
    for _ in range(4):
        await kept.keep()
        assert await kept.seal_key() is first
        clock.move(60)
    with pytest.raises(KubeConflict, match="delete it"):
        await KeptSecrets(kube, [], namespace="ns", release="gw", clock=clock).seal_key()  # type: ignore[arg-type]
