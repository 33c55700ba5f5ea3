"""What the flags say."""

from dataclasses import dataclass
from enum import StrEnum

from sipgw.runtime.errors import StartupError
from sipgw.runtime.settings import HostPort


class Pki(StrEnum):
    """Who makes the certificates."""

    OPERATOR = "operator"
    CERT_MANAGER = "cert-manager"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Of one replica. `owner`: kind and name of what our Secrets and the Lease go with; None for nothing.

    `lanes`: how many StatefulSets of relays the chart has, 0 for as many as there are. Before all of them are
    there no relay has its number. `redis_secret`: has the password of the release's own Redis; "" for none.
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
    """ "Kind/name"; "" for none, "default" for the chart's service account. Raises StartupError."""
    if text == "default":
        return "ServiceAccount", f"{release}-operator"
    if not text:
        return None
    kind, slash, name = text.partition("/")
    if not slash or kind not in {"ServiceAccount", "Deployment"} or not name:
        raise StartupError(f"--owner {text}: ServiceAccount/NAME or Deployment/NAME is wanted")
    return kind, name


def parse_ports(text: str) -> tuple[int, int]:
    """ "LOW-HIGH". Raises StartupError."""
    low, dash, high = text.partition("-")
    if not dash or not low.isdigit() or not high.isdigit() or not 0 < int(low) < int(high) < 65536:
        raise StartupError(f"--rtp-ports {text}: LOW-HIGH is wanted, from 1 to 65535")
    return int(low), int(high)
