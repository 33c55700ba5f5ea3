"""A certificate authority for tests and laptops, which writes the --tls-dir of each role.

In a cluster the operator or cert-manager makes the same files.
"""

import datetime as dt
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sipgw.runtime.tls import DOMAIN

_LASTS: Final = dt.timedelta(days=30)


class TestAuthority:
    """An authority that signs leaves; certificates of two authorities don't verify each other."""

    __test__ = False

    def __init__(self, name: str = "sipgw test") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(self._subject, self._subject, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate: bytes = builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM)

    def write_leaf(self, directory: Path, role: str, *, believe: bytes = b"") -> Path:
        """Make `directory` the --tls-dir of `role`; `believe` replaces this authority in ca.crt.

        Written as Kubernetes mounts a Secret: all three files change in one step.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{role}{DOMAIN}")])
        builder = _builder(subject, self._subject, key.public_key())
        names = x509.SubjectAlternativeName([x509.DNSName(f"{role}{DOMAIN}")])
        leaf = builder.add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        files = {
            "ca.crt": believe or self.certificate,
            "tls.crt": leaf.public_bytes(_PEM),
            "tls.key": private,
        }
        _swap_in(directory, files)
        return directory


_PEM: Final = serialization.Encoding.PEM


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + _LASTS)
    )


def _swap_in(directory: Path, files: dict[str, bytes]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    version = sum(path.name.startswith("..v") for path in directory.iterdir())
    data = directory / f"..v{version}"
    data.mkdir()
    for name, content in files.items():
        (data / name).write_bytes(content)
    fresh = directory / "..data_tmp"
    fresh.symlink_to(data.name)
    fresh.rename(directory / "..data")
    for name in files:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(Path("..data") / name)
