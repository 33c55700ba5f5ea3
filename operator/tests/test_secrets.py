from datetime import UTC, datetime, timedelta

from sipgw.operator.pki import certificates as pki
from sipgw.operator.resources import secrets as manifests

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)

OWNERS = [{"apiVersion": "v1", "kind": "ServiceAccount", "name": "gw-operator", "uid": "u"}]


def authority() -> pki.Authority:
    return pki.renew_authority(None, START, "gw CA")


def test_the_authority_survives_the_way_through_its_secret() -> None:
    announced = pki.renew_authority(authority(), START + 250 * DAY, "gw CA")
    promoted = pki.renew_authority(announced, START + 252 * DAY, "gw CA")
    for held in (announced, promoted):
        assert manifests.read_authority(manifests.authority_manifest("gw-ca", held, "gw", OWNERS)) == held


def test_a_leaf_survives_it_and_has_what_pods_mount() -> None:
    leaf = pki.renew_leaf(None, "edge", authority(), START)
    manifest = manifests.leaf_manifest("gw-tls-edge", leaf, "gw", OWNERS)
    assert set(manifest["data"]) == {"ca.crt", "tls.crt", "tls.key"}
    assert manifest["type"] == "kubernetes.io/tls"
    assert manifest["metadata"]["ownerReferences"] == OWNERS
    assert manifests.read_leaf(manifest) == leaf


def test_what_is_no_base64_or_missing_reads_as_nothing() -> None:
    assert manifests.read_leaf(None) is None
    assert manifests.read_leaf({"data": {"tls.crt": "%%%"}}) is None
    assert manifests.read_authority({"data": None}) is None
