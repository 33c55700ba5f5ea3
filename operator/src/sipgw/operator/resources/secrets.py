"""Our certificates, keys and passwords as Secrets, and back."""

import base64
import binascii
from typing import Final

from sipgw.operator.pki.certificates import Authority, KeyPair, Leaf
from sipgw.operator.resources.json_parts import Json, part

_ESCAPES: Final = {
    **{one: f"\\x{one:02x}" for one in (*range(32), 127)},
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}  # escapes of redis.conf, in double quotes
_LABELS: Final = {"app.kubernetes.io/name": "sipgw", "app.kubernetes.io/managed-by": "sipgw-operator"}


def authority_manifest(name: str, authority: Authority, release: str, owners: list[Json]) -> Json:
    """Return the CA: the signing one, the next one, the trusted ones."""
    after = authority.next
    data = {
        "tls.crt": authority.current.certificate,
        "tls.key": authority.current.key,
        "ca.crt": authority.bundle,
        "next.crt": after.certificate if after else b"",
        "next.key": after.key if after else b"",
        "previous.crt": authority.previous,
    }
    return _manifest(name, data, release, owners)


def read_authority(body: Json | None) -> Authority | None:
    """Read the CA; return None when it is missing or unreadable."""
    data = _data(body)
    if not data.get("tls.crt") or not data.get("tls.key"):
        return None
    after = KeyPair(data["next.crt"], data.get("next.key", b"")) if data.get("next.crt") else None
    return Authority(KeyPair(data["tls.crt"], data["tls.key"]), after, data.get("previous.crt", b""))


def leaf_manifest(name: str, leaf: Leaf, release: str, owners: list[Json]) -> Json:
    """Return the Secret that a pod mounts."""
    data = {"ca.crt": leaf.bundle, "tls.crt": leaf.pair.certificate, "tls.key": leaf.pair.key}
    return _manifest(name, data, release, owners)


def read_leaf(body: Json | None) -> Leaf | None:
    """Read a leaf; return None when it is missing or incomplete."""
    data = _data(body)
    if not all(data.get(name) for name in ("ca.crt", "tls.crt", "tls.key")):
        return None
    return Leaf(KeyPair(data["tls.crt"], data["tls.key"]), data["ca.crt"])


def read_value(body: Json | None, key: str) -> bytes | None:
    """Return one value of a Secret; None without it."""
    return _data(body).get(key)


def read_key(body: Json, key: str) -> str | None:
    """Return one value of a Secret that a document refers to, as text."""
    value = read_value(body, key)
    try:
        return value.decode() if value is not None else None
    except UnicodeDecodeError:
        return None


def seal_manifest(name: str, key: str, release: str, owners: list[Json]) -> Json:
    """Return the Secret of the key that seals passwords in the config."""
    return _manifest(name, {"seal.key": key.encode()}, release, owners, "Opaque")


def password_manifest(name: str, password: bytes, release: str, owners: list[Json]) -> Json:
    """Return the Secret of Redis' password and of the piece of its configuration with it."""
    data = {"password": password, "password.conf": confs_of(password)[0]}
    return _manifest(name, data, release, owners, "Opaque")


def confs_of(password: bytes) -> tuple[bytes, ...]:
    """Return the notations of it for Redis; the first is ours, the second that of earlier charts."""
    escaped = "".join(_ESCAPES.get(one) or chr(one) for one in password)
    plain = (b"requirepass " + password + b"\n",) if password.isalnum() else ()
    return f'requirepass "{escaped}"\n'.encode("latin-1"), *plain


def _manifest(
    name: str, data: dict[str, bytes], release: str, owners: list[Json], kind: str = "kubernetes.io/tls"
) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": kind,
        "metadata": {
            "name": name,
            "labels": {**_LABELS, "app.kubernetes.io/instance": release},
            "ownerReferences": owners,
        },
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def _data(body: Json | None) -> dict[str, bytes]:
    try:
        return {key: base64.b64decode(value) for key, value in part(body, "data").items()}
    except (binascii.Error, ValueError):
        return {}
