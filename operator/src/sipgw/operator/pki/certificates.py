"""Certificates as values: a CA that overlaps with its successor, leaves that name a role. Pure.

The CA lives a year. At two thirds the *next* one is made and only trusted; a day later, when every process
has read it, it signs, and the previous one stays trusted until all its leaves have expired. Leaves live
thirty days and are renewed at two thirds, or as soon as their issuer is not the CA that signs.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROLES: Final = ("edge", "relay", "registry", "operator")
CA_LIFE: Final = timedelta(days=365)
LEAF_LIFE: Final = timedelta(days=30)
SETTLE: Final = timedelta(days=1)
"""The time from trusting the next CA to signing with it: longer than a kubelet takes to update a mount."""
_BACKDATED: Final = timedelta(minutes=5)
_PART_OF_LIFE: Final = 2 / 3


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Authority:
    """The CA that signs, the next one, and the others that are trusted."""

    current: KeyPair
    next: KeyPair | None = None
    previous: bytes = b""

    @property
    def bundle(self) -> bytes:
        """All trusted certificates, the signing CA first."""
        return self.current.certificate + (self.next.certificate if self.next else b"") + self.previous


@dataclass(frozen=True, slots=True)
class Leaf:
    """The certificate and key of a process, and the bundle of authorities that it trusts."""

    pair: KeyPair
    bundle: bytes


def renew_authority(authority: Authority | None, now: datetime, name: str) -> Authority:
    """Return the authority as it should be now; the same object when nothing is due."""
    if authority is None or _expires(authority.current.certificate) <= now:
        return Authority(_issue_authority(name, now))
    if authority.previous and _begins(authority.current.certificate) + SETTLE + LEAF_LIFE <= now:
        authority = replace(authority, previous=b"")
    if authority.next is None:
        is_due = is_past_due(authority.current.certificate, now)
        return replace(authority, next=_issue_authority(name, now)) if is_due else authority
    if _begins(authority.next.certificate) + SETTLE <= now:
        return Authority(authority.next, previous=authority.current.certificate)
    return authority


def renew_leaf(leaf: Leaf | None, role: str, authority: Authority, now: datetime) -> Leaf:
    """Return the leaf as it should be now; the same object when nothing is due."""
    if leaf is None or not _is_good(leaf, role, authority, now):
        return Leaf(_issue_leaf(role, authority.current, now), authority.bundle)
    return leaf if leaf.bundle == authority.bundle else replace(leaf, bundle=authority.bundle)


def is_past_due(certificate: bytes, now: datetime) -> bool:
    """Return whether two thirds of its life are over."""
    begins, expires = _begins(certificate), _expires(certificate)
    return begins + (expires - begins) * _PART_OF_LIFE <= now


def expires_at(certificate: bytes) -> datetime:
    """Return when the first certificate of the PEM expires."""
    return _expires(certificate)


def _is_good(leaf: Leaf, role: str, authority: Authority, now: datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(leaf.pair.certificate)
        issuer = x509.load_pem_x509_certificate(authority.current.certificate)
        certificate.verify_directly_issued_by(issuer)
        key = serialization.load_pem_private_key(leaf.pair.key, None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:
        return False
    is_ours = key.public_key() == certificate.public_key()
    has_role = names.get_values_for_type(x509.DNSName) == [_san(role)]
    return is_ours and has_role and not is_past_due(leaf.pair.certificate, now)


def _issue_authority(name: str, now: datetime) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {now:%Y-%m-%d}"[:64])])
    builder = (
        _builder(subject, subject, key, now, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def _issue_leaf(role: str, authority: KeyPair, now: datetime) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    issuer_key = serialization.load_pem_private_key(authority.key, None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _san(role))])
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        _builder(subject, issuer.subject, key, now, LEAF_LIFE, issuer_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(_san(role))]), critical=False)
    )
    return _pair(builder.sign(issuer_key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    life: timedelta,
    issuer_key: ec.EllipticCurvePrivateKey | None = None,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((issuer_key or key).public_key()),
            critical=False,
        )
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return KeyPair(certificate.public_bytes(encoding), private)


def _san(role: str) -> str:
    return f"{role}.sipgw"


def _begins(certificate: bytes) -> datetime:
    return x509.load_pem_x509_certificate(certificate).not_valid_before_utc + _BACKDATED


def _expires(certificate: bytes) -> datetime:
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc
