from itertools import pairwise
from pathlib import Path

import pytest

from sipgw.config import ConfigError
from sipgw.local import plan
from sipgw.local.errors import BadOptions
from sipgw.local.ports import PortRange, default_route_address
from sipgw.local.service import Stage
from sipgw.local.settings import GatewayOptions, GatewaySettings, settle

WITH_ROUTE = """
apiVersion: sipgw.io/v1alpha1
kind: SipGateway
metadata: {name: here}
spec:
  sip: {bindAddress: 127.0.0.1, port: 5080}
  rtp: {firstPort: 30000, lastPort: 30099}
  advertise: {address: 192.0.2.9}
  recording: {directory: /var/recordings}
---
apiVersion: sipgw.io/v1alpha1
kind: BotRoute
metadata: {name: mine}
spec:
  bots: [{endpoint: "bot.example:9090"}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(WITH_ROUTE)
    return path


def commands(settings: GatewaySettings) -> list[tuple[str, ...]]:
    services = [
        *plan.relay_services(settings, "127.0.0.1:1"),
        *plan.edge_services(settings, "127.0.0.1:1", "unix:///r", Path("k")),
    ]
    return [service.command for service in services]


def value_of(command: tuple[str, ...], flag: str) -> str:
    return command[command.index(flag) + 1]


def test_without_anything_calls_go_to_the_echo_bot_on_5060() -> None:
    settings = settle(GatewayOptions(advertise="192.0.2.1"))
    assert settings.sip_ports == (5060,)
    assert settings.sip_host == "0.0.0.0"
    assert settings.rtp_ports == (PortRange(20000, 22399),)
    assert settings.starts_echo_bot
    documents = settings.documents_for("127.0.0.1:9999")
    assert documents.routes[0].spec.bots[0].endpoint == "127.0.0.1:9999"


def test_edges_are_ten_ports_apart_and_relays_share_the_range() -> None:
    settings = settle(GatewayOptions(sip_port=6000, edges=3, relays=2, rtp_ports=PortRange(40000, 40099)))
    assert settings.sip_ports == (6000, 6010, 6020)
    ranges = [value_of(c, "--rtp-ports") for c in commands(settings) if "--rtp-ports" in c]
    assert ranges == ["40000-40049", "40050-40099"]
    lanes = [value_of(c, "--lane") for c in commands(settings) if "--lane" in c]
    assert lanes == ["0", "1"]


def test_more_relays_have_more_ports_by_default() -> None:
    settings = settle(GatewayOptions(relays=3))
    assert [str(ports) for ports in settings.rtp_ports] == ["20000-22399", "22400-24799", "24800-27199"]


def test_the_file_decides_what_the_options_leave_open(file: Path) -> None:
    settings = settle(GatewayOptions(config=file))
    assert (settings.sip_host, settings.sip_ports) == ("127.0.0.1", (5080,))
    assert settings.rtp_ports == (PortRange(30000, 30099),)
    assert settings.advertise == "192.0.2.9"
    assert settings.recordings == Path("/var/recordings")
    assert not settings.starts_echo_bot


def test_options_are_stronger_than_the_file(file: Path, tmp_path: Path) -> None:
    options = GatewayOptions(config=file, sip_port=0, edges=2, advertise="127.0.0.1", recordings=tmp_path)
    settings = settle(options)
    assert settings.sip_ports == (0, 0)
    assert settings.advertise == "127.0.0.1"
    assert settings.recordings == tmp_path
    assert settle(GatewayOptions(config=file, is_recording_wanted=False)).recordings is None


def test_a_bound_address_is_the_one_advertised(file: Path) -> None:
    assert settle(GatewayOptions(sip_host="127.0.0.1")).advertise == "127.0.0.1"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (GatewayOptions(trust=("203.0.113.1/24",)), "--trust 203.0.113.1/24: 203.0.113.1/24 has host bits"),
        (GatewayOptions(trust=("pbx",)), "such as 203.0.113.0/24"),
        (GatewayOptions(relays=0), "--relays 0: from 1 to 8"),
        (GatewayOptions(edges=17), "--edges 17: from 1 to 16"),
        (GatewayOptions(bot="127.0.0.1"), "--bot 127.0.0.1: not HOST:PORT"),
        (GatewayOptions(sip_port=65530, edges=2), "the last would be 65540"),
        (GatewayOptions(rtp_ports=PortRange(20000, 20003), relays=3), "too few for 3 relays"),
    ],
)
def test_impossible_options_are_refused_in_words(options: GatewayOptions, words: str) -> None:
    with pytest.raises(BadOptions, match=words):
        settle(options)


def test_a_bot_beside_routes_is_refused(file: Path) -> None:
    with pytest.raises(BadOptions, match="which name their bots"):
        settle(GatewayOptions(config=file, bot="127.0.0.1:9090"))


def test_a_wrong_file_names_line_and_field(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(WITH_ROUTE.replace("port: 5080", "port: 99999"))
    with pytest.raises(ConfigError, match=r"wrong.yaml:6: spec.sip.port: found 99999"):
        settle(GatewayOptions(config=path))


def test_every_service_ends_in_its_stage() -> None:
    settings = settle(GatewayOptions())
    assert {s.stage for s in plan.relay_services(settings, "r")} == {Stage.RELAY}
    assert {s.stage for s in plan.edge_services(settings, "r", "u", Path("k"))} == {Stage.EDGE}
    assert plan.registry_service("u").stage < plan.redis_service(Path("r"), Path("s")).stage


def test_this_machine_and_what_trust_names_are_trusted_and_not_all_of_the_loopback() -> None:
    settings = settle(GatewayOptions(trust=("203.0.113.0/24", "2001:db8::7")))
    assert {"127.0.0.1", "::1", "203.0.113.0/24", "2001:db8::7/128"} <= set(settings.trusted)
    assert "127.0.0.0/8" not in settings.trusted
    assert default_route_address() in settings.trusted
    (edge,) = plan.edge_services(settings, "registry:1", "redis://x", Path("key"))
    trusted = [value for flag, value in pairwise(edge.command) if flag == "--trust"]
    assert trusted == list(settings.trusted)
