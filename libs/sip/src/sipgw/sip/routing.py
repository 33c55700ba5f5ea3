"""Where a request came from (received and rport: RFC 3261 §18.2.1, RFC 3581), and where its response goes."""

import re
from typing import Final, NamedTuple

from sipgw.sip.grammar import split_commas
from sipgw.sip.message import SipRequest
from sipgw.sip.via import Via

DEFAULT_PORTS: Final = {"TLS": 5061, "WSS": 443, "WS": 80}
_IPV4 = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}", re.ASCII)


class Address(NamedTuple):
    """A transport address: "UDP", "TCP" or "TLS", a host without brackets, a port."""

    transport: str
    host: str
    port: int

    @property
    def is_reliable(self) -> bool:
        return self.transport != "UDP"


def default_port(transport: str) -> int:
    """Return the default port of a transport: 5061 for TLS, 5060 otherwise."""
    return DEFAULT_PORTS.get(transport, 5060)


def stamp_source(request: SipRequest, source: Address) -> None:
    """Write the observed source address into the top Via (RFC 3261 §18.2.1, RFC 3581).

    `received` is written when the source differs from sent-by or rport was asked for, `rport` when it was
    asked for. The sender's own claims there are removed.
    """
    via = request.via
    params = via.params
    if "rport" not in params and "received" not in params and via.host == source.host:
        return
    stamped = dict(params)
    stamped.pop("received", None)
    if "rport" in params:
        stamped["rport"] = str(source.port)
        stamped["received"] = source.host
    elif via.host.lower() != source.host.lower():
        stamped["received"] = source.host
    line = request.headers.get("Via") or ""
    _, *others = split_commas(line)
    top = type(via)(via.transport, via.host, via.port, stamped)
    request.headers.replace_first("Via", ", ".join([str(top), *others]))
    request.headers.parsed("via", lambda _: top)


def response_destination(via: Via, source: Address) -> Address:
    """Return where a response to a request with this stamped top Via goes (RFC 3261 §18.2.2, RFC 3581 §4).

    Over streams the response goes out on the connection that `source` is. An maddr is obeyed when it is a
    unicast address; a name in it would need a resolver, so it is passed over. Nothing is ever sent to a
    broadcast address.
    """
    if source.transport != "UDP":
        return source
    port = via.port or default_port(source.transport)
    maddr = via.params.get("maddr")
    if maddr and _is_unicast_ipv4(maddr):
        return Address(source.transport, maddr, port)
    if via.wants_rport:
        return Address(source.transport, source.host, via.rport or source.port)
    return Address(source.transport, source.host, port)


def _is_unicast_ipv4(host: str) -> bool:
    if not _IPV4.fullmatch(host):
        return False
    octets = [int(part) for part in host.split(".")]
    return max(octets) <= 255 and 0 < octets[0] < 224
