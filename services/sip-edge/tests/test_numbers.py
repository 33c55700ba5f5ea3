"""Routes match the number of a user part or tel: URI, and the bot gets number and parameters apart."""

import pytest

from edge_kit.caller import Caller, CallerDialog
from edge_kit.edges import TestEdge
from edge_kit.fake_relay import FakeRelay
from sipgw.api.relay.v1 import control_pb2 as relay_api


def bot_of(relay: FakeRelay, call: CallerDialog) -> relay_api.BotSpec:
    return relay.sessions[call.call_id].spec.bot


def route_only(edge: TestEdge, number: str) -> None:
    """Have the only route take only this number."""
    gateway = edge.app.gateway.current
    assert gateway is not None
    gateway.routes[0].match.to.exact = number
    edge.app.gateway.take(gateway)


@pytest.mark.parametrize(
    ("uri", "params"),
    [
        ("sip:+15550001111@127.0.0.1", {}),
        ("sip:%2B1-555-000-1111@127.0.0.1;user=phone", {}),
        (
            "sip:+15550001111;npdi;rn=+15559990000@127.0.0.1;user=phone",
            {"npdi": "", "rn": "+15559990000"},
        ),
        ("sip:+15550001111;cic=+10288@127.0.0.1", {"cic": "+10288"}),
        ("tel:+1-555-000-1111;npdi", {"npdi": ""}),
    ],
)
async def test_a_route_takes_a_number_however_it_is_written(
    edge: TestEdge, relay: FakeRelay, caller: Caller, uri: str, params: dict[str, str]
) -> None:
    route_only(edge, "+15550001111")
    call = await CallerDialog.established(
        caller, edge.sip, uri=uri, from_="<tel:+12155550100;verstat=TN-Validation-Passed>;tag=a"
    )
    bot = bot_of(relay, call)
    assert (bot.to, dict(bot.to_parameters)) == ("+15550001111", params)
    assert getattr(bot, "from") == "+12155550100"
    assert dict(bot.from_parameters) == {"verstat": "TN-Validation-Passed"}
    assert (await call.ask("BYE", edge.sip)).status == 200


async def test_a_trunks_numbers_become_e164(edge: TestEdge, relay: FakeRelay, caller: Caller) -> None:
    gateway = edge.app.gateway.current
    assert gateway is not None
    numbers = gateway.trunks[0].numbers
    numbers.country_code, numbers.national_prefix, numbers.international_prefix = "49", "0", "00"
    route_only(edge, "+4930123456")
    call = await CallerDialog.established(
        caller, edge.sip, uri="sip:030-123456@127.0.0.1", from_="<sip:00441632960000;cpc=ordinary@h>;tag=a"
    )
    bot = bot_of(relay, call)
    assert (bot.to, getattr(bot, "from"), dict(bot.from_parameters)) == (
        "+4930123456",
        "+441632960000",
        {"cpc": "ordinary"},
    )
    record = edge.app.records.copy_of(call.call_id)
    assert record is not None
    assert (record.from_display, record.to_display) == ("+441632960000", "+4930123456")
