"""From a URI to the socket address for its requests. Names are resolved by the system: no NAPTR, no SRV."""

import socket
from contextlib import suppress
from ipaddress import ip_address

from sipgw.sip import Address, OtherUri, SipUri
from sipgw.siptest.errors import NoRoute

_DEFAULT_PORT = 5060


def destination_of(uri: SipUri | OtherUri) -> Address:
    """Resolve a URI. Raises NoRoute. Blocks while a name is looked up; literal addresses take no time."""
    if not isinstance(uri, SipUri):
        raise NoRoute(f"{uri} is not a sip: URI")
    if uri.transport not in {None, "UDP"}:
        raise NoRoute(f"{uri}: only UDP is supported")
    port = uri.port or _DEFAULT_PORT
    with suppress(ValueError):
        return Address("UDP", str(ip_address(uri.host)), port)
    try:
        found = socket.getaddrinfo(uri.host, port, socket.AF_INET, socket.SOCK_DGRAM)
    except socket.gaierror as error:
        raise NoRoute(f"{uri.host} does not resolve: {error.strerror}") from error
    return Address("UDP", str(found[0][4][0]), port)


def local_address_towards(address: Address) -> str:
    """Return this machine's address on the route to `address`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address.host, address.port))
        except OSError as error:
            raise NoRoute(f"no route to {address.host}: {error.strerror}") from error
        return str(probe.getsockname()[0])
