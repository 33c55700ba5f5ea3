"""The settings given by the flags."""

from dataclasses import dataclass
from enum import StrEnum

from sipgw.runtime.errors import StartupError
from sipgw.runtime.settings import HostPort


class Pki(StrEnum):
    """The issuer of the certificates."""

    OPERATOR = "operator"
    CERT_MANAGER = "cert-manager"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """The settings of one replica. `owner`: kind and name of the owner of our Secrets and Lease, or None.

    `lanes`: how many StatefulSets of relays the chart has, 0 for as many as exist. A relay gets its number
    only once all of them exist. `redis_secret`: the Secret with the password of the release's own Redis; ""
    for none.
    """

    namespace: str
    release: str
    registry: HostPort
    identity: str
    pki: Pki = Pki.OPERATOR
    redis_secret: str = ""
    owner: tuple[str, str] | None = None
    watches_nodes: bool = True
    lanes: int = 0
    sip_port: int = 5060
    rtp_ports: tuple[int, int] = (20000, 29599)
    admin: HostPort | None = None
    health: HostPort | None = None


def parse_owner(text: str, release: str) -> tuple[str, str] | None:
    """Read "Kind/name"; "" for none, "default" for the chart's service account. Raises StartupError."""
    if text == "default":
        return "ServiceAccount", f"{release}-operator"
    if not text:
        return None
    kind, slash, name = text.partition("/")
    if not slash or kind not in {"ServiceAccount", "Deployment"} or not name:
        raise StartupError(f"--owner {text}: write ServiceAccount/NAME or Deployment/NAME")
    return kind, name


def parse_ports(text: str) -> tuple[int, int]:
    """Read "LOW-HIGH". Raises StartupError."""
    low, dash, high = text.partition("-")
    if not dash or not low.isdigit() or not high.isdigit() or not 0 < int(low) < int(high) < 65536:
        raise StartupError(f"--rtp-ports {text}: write LOW-HIGH, with ports from 1 to 65535")
    return int(low), int(high)
