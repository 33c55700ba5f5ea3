"""The settings of a gateway on this machine: the command line over the documents of the file."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from sipgw.config import BUILTIN_ECHO, Documents, builtin_documents, complete, load_documents
from sipgw.local.errors import BadOptions
from sipgw.local.ports import PortRange, default_route_address, own_addresses

MOST_RELAYS = 8
MOST_EDGES = 16
EDGE_PORT_STEP = 10
_FIRST_RTP_PORT = 20000
_RTP_PORTS_OF_A_RELAY = 2400


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """The options as given; None means not given, so that the file or the default decides.

    `sip_port` 0 takes any free port. `recordings` is the directory for recordings when they are wanted.
    """

    config: Path | None = None
    sip_host: str | None = None
    sip_port: int | None = None
    rtp_ports: PortRange | None = None
    advertise: str | None = None
    bot: str | None = None
    relays: int = 1
    edges: int = 1
    redis_url: str | None = None
    recordings: Path | None = None
    is_recording_wanted: bool = True
    trust: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The settings as decided. `recordings` None: no call is recorded. `trusted`: sources never banned."""

    documents: Documents | None
    """None: the built-in documents, made when the bot's address is known."""
    sip_host: str
    sip_ports: tuple[int, ...]
    """A SIP port for each edge."""
    rtp_ports: tuple[PortRange, ...]
    """A range of RTP ports for each relay."""
    advertise: str
    bot: str | None
    redis_url: str | None
    recordings: Path | None
    trusted: tuple[str, ...] = ()

    @property
    def starts_echo_bot(self) -> bool:
        return self.bot is None and (self.documents is None or not self.documents.routes)

    def documents_for(self, bot_endpoint: str) -> Documents:
        """Return the documents, completed for a laptop."""
        if self.documents is None:
            return builtin_documents(bot_endpoint, recording_directory=str(self.recordings or ""))
        return complete(self.documents, bot_endpoint or BUILTIN_ECHO, record=self.recordings is not None)


def settle(options: GatewayOptions) -> GatewaySettings:
    """Read the file and decide the settings. Raises ConfigError and BadOptions."""
    if not 1 <= options.relays <= MOST_RELAYS:
        raise BadOptions(f"--relays {options.relays}: from 1 to {MOST_RELAYS}")
    if not 1 <= options.edges <= MOST_EDGES:
        raise BadOptions(f"--edges {options.edges}: from 1 to {MOST_EDGES}")
    documents = load_documents(options.config) if options.config is not None else None
    if documents is not None and documents.routes and options.bot is not None:
        raise BadOptions(
            f"--bot {options.bot}: {options.config} has routes, which name their bots; leave one out"
        )
    if options.bot is not None:
        _require_endpoint(options.bot)
    sip_host, sip_port = _sip_of(options, documents)
    advertise = options.advertise or _advertised_by(documents)
    if advertise is None:
        advertise = default_route_address() if sip_host in {"0.0.0.0", "::"} else sip_host
    return GatewaySettings(
        documents=documents,
        sip_host=sip_host,
        sip_ports=_sip_ports(sip_port, options.edges),
        rtp_ports=tuple(_rtp_of(options, documents).split(options.relays)),
        advertise=advertise,
        bot=options.bot,
        redis_url=options.redis_url,
        recordings=_recordings_of(options, documents),
        trusted=(*own_addresses(), *map(_network, options.trust)),
    )


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError as error:
        raise BadOptions(
            f"--trust {text}: {error}; an address or a network without host bits, such as 203.0.113.0/24"
        ) from error


def _require_endpoint(bot: str) -> None:
    host, _, port = bot.rpartition(":")
    if bot != BUILTIN_ECHO and not (host and port.isdigit() and 1 <= int(port) <= 65535):
        raise BadOptions(f"--bot {bot}: not HOST:PORT with a port from 1 to 65535")


def _sip_of(options: GatewayOptions, documents: Documents | None) -> tuple[str, int]:
    spec = documents.gateway.spec.sip if documents is not None else None
    host = options.sip_host or (spec.bind_address if spec is not None else "0.0.0.0")
    if options.sip_port is not None:
        return host, options.sip_port
    return host, spec.port if spec is not None else 5060


def _sip_ports(first: int, edges: int) -> tuple[int, ...]:
    if first == 0:
        return (0,) * edges
    last = first + EDGE_PORT_STEP * (edges - 1)
    if not 1 <= first <= last <= 65535:
        raise BadOptions(f"--sip-port {first}: with {edges} edges the last would be {last}; from 1 to 65535")
    return tuple(range(first, last + 1, EDGE_PORT_STEP))


def _rtp_of(options: GatewayOptions, documents: Documents | None) -> PortRange:
    if options.rtp_ports is not None:
        return options.rtp_ports
    if documents is not None and "rtp" in documents.gateway.spec.model_fields_set:
        rtp = documents.gateway.spec.rtp
        return PortRange.of(rtp.first_port, rtp.last_port)
    return PortRange.of(_FIRST_RTP_PORT, _FIRST_RTP_PORT + _RTP_PORTS_OF_A_RELAY * options.relays - 1)


def _advertised_by(documents: Documents | None) -> str | None:
    return documents.gateway.spec.advertise.address if documents is not None else None


def _recordings_of(options: GatewayOptions, documents: Documents | None) -> Path | None:
    """Return the directory of the option, else that of the file, else None."""
    if not options.is_recording_wanted:
        return None
    directory = documents.gateway.spec.recording.directory if documents is not None else ""
    chosen = options.recordings or (Path(directory) if directory else None)
    return chosen.absolute() if chosen is not None else None
