"""Dialogs (RFC 3261 §12): both sides, route sets, loose and strict routing, CSeq order, target refresh."""

from dataclasses import replace

import pytest

from sipgw.sip import (
    Dialog,
    DialogRole,
    NameAddress,
    OutOfOrder,
    SipUri,
    Via,
    make_response,
    new_request,
    parse_message,
    serialize,
)

VIA = Via("UDP", "192.0.2.50", 5060, {"branch": "z9hG4bK-x"})


@pytest.fixture
def invite(sip_text):
    return parse_message(
        sip_text(
            "INVITE sip:bot@example.com SIP/2.0",
            contact="<sip:alice@192.0.2.1:5070>",
            record_route="<sip:p2.example;lr>, <sip:p1.example;lr>",
            cseq="31 INVITE",
        )
    )


@pytest.fixture
def uas(invite) -> Dialog:
    return Dialog.from_uas(invite, make_response(invite, 200, to_tag="b1", contact="<sip:gw@192.0.2.50>"))


@pytest.fixture
def own_invite():
    return new_request(
        "INVITE",
        SipUri.parse("sip:alice@example.net"),
        from_="<sip:gw@example.com>;tag=g1",
        to="<sip:alice@example.net>",
        call_id="out-1",
        cseq=7,
        via=VIA,
        contact="<sip:gw@192.0.2.50>",
    )


def answered(own_invite, status: int, tag: str, contact: str, routes: str | None = None):
    headers = [("Record-Route", routes)] if routes else []
    return make_response(own_invite, status, to_tag=tag, contact=contact, headers=headers)


def request_text(sip_text, method: str, cseq: int, **headers: str):
    return parse_message(
        sip_text(
            f"{method} sip:gw@192.0.2.50 SIP/2.0",
            to="<sip:bot@example.com>;tag=b1",
            cseq=f"{cseq} {method}",
            **headers,
        )
    )


def test_the_callee_has_the_route_set_as_it_came(uas) -> None:
    assert (uas.call_id, uas.local_tag, uas.remote_tag) == ("call-1@192.0.2.1", "b1", "a1")
    assert str(uas.local_uri) == "<sip:bot@example.com>"
    assert str(uas.remote_uri) == "Alice <sip:alice@example.net>"
    assert str(uas.remote_target) == "sip:alice@192.0.2.1:5070"
    assert [route.uri.host for route in uas.route_set] == ["p2.example", "p1.example"]
    assert (uas.local_cseq, uas.remote_cseq) == (0, 31)
    assert (uas.early, uas.secure, uas.role) == (False, False, DialogRole.UAS)


def test_the_caller_has_the_route_set_reversed(own_invite) -> None:
    response = answered(own_invite, 183, "p1", "<sip:alice@192.0.2.1>", "<sip:near;lr>, <sip:far;lr>")
    dialog = Dialog.from_uac(own_invite, response)
    assert (dialog.local_tag, dialog.remote_tag, dialog.early) == ("g1", "p1", True)
    assert [route.uri.host for route in dialog.route_set] == ["far", "near"]
    assert (dialog.local_cseq, dialog.remote_cseq, dialog.role) == (7, None, DialogRole.UAC)


def test_a_2xx_gives_the_caller_a_new_target_and_route_set(own_invite) -> None:
    early = Dialog.from_uac(own_invite, answered(own_invite, 180, "p1", "<sip:a@early>", "<sip:old;lr>"))
    confirmed = early.confirmed(answered(own_invite, 200, "p1", "<sip:a@late>", "<sip:new;lr>"))
    assert not confirmed.early
    assert confirmed.remote_target.host == "late"
    assert [route.uri.host for route in confirmed.route_set] == ["new"]


def test_a_2xx_of_ours_only_confirms(invite) -> None:
    early = Dialog.from_uas(invite, make_response(invite, 180, to_tag="b1"))
    assert early.early
    assert early.confirmed(make_response(invite, 200, to_tag="b1", contact="<sip:gw@h>")) == replace(
        early, early=False
    )


def test_each_request_counts_up_and_goes_by_loose_routes(uas) -> None:
    dialog, bye = uas.next_request("BYE", VIA)
    assert (bye.method, str(bye.uri), str(bye.cseq)) == ("BYE", "sip:alice@192.0.2.1:5070", "1 BYE")
    assert [route.uri.host for route in bye.routes] == ["p2.example", "p1.example"]
    assert (bye.from_.tag, bye.to.tag, bye.call_id) == ("b1", "a1", "call-1@192.0.2.1")
    assert dialog.next_hop == uas.route_set[0].uri
    again, info = dialog.next_request("INFO", VIA, headers=[("X-Own", "1")], max_forwards=9)
    assert (info.cseq.number, again.local_cseq, info.max_forwards, info.headers.get("x-own")) == (
        2,
        2,
        9,
        "1",
    )
    assert uas.local_cseq == 0


def test_a_re_invite_carries_contact_and_offer(uas) -> None:
    _, request = uas.next_request("INVITE", VIA, "<sip:gw@192.0.2.50>", b"v=0", "application/sdp")
    again = parse_message(serialize(request))
    assert (again.body, again.content_type) == (b"v=0", "application/sdp")
    assert str(again.contact) == "<sip:gw@192.0.2.50>"


def test_without_routes_the_target_is_the_next_hop(uas) -> None:
    dialog = replace(uas, route_set=())
    _, bye = dialog.next_request("BYE", VIA)
    assert bye.routes == ()
    assert dialog.next_hop == uas.remote_target


def test_a_strict_router_gets_the_request_uri(uas) -> None:
    routes = tuple(map(NameAddress.parse, ("<sip:strict.example;method=X?h=v>", "<sip:p1.example;lr>")))
    _, bye = replace(uas, route_set=routes).next_request("BYE", VIA)
    assert str(bye.uri) == "sip:strict.example"
    assert [str(route) for route in bye.routes] == ["<sip:p1.example;lr>", "<sip:alice@192.0.2.1:5070>"]


def test_the_ack_of_a_2xx_has_the_number_of_its_invite(uas) -> None:
    dialog, invite = uas.next_request("INVITE", VIA)
    ack = dialog.ack(VIA, invite.cseq.number, b"v=0", "application/sdp")
    assert (ack.method, ack.uri, ack.cseq.number, ack.routes) == ("ACK", invite.uri, 1, invite.routes)
    assert ack.body == b"v=0"


def test_a_lower_cseq_is_out_of_order(uas, sip_text) -> None:
    dialog = uas.receive(request_text(sip_text, "INFO", 40))
    assert dialog.remote_cseq == 40
    with pytest.raises(OutOfOrder) as caught:
        dialog.receive(request_text(sip_text, "INFO", 39))
    assert caught.value.status == 500
    assert dialog.receive(request_text(sip_text, "INFO", 40)) == dialog


def test_the_first_request_to_a_caller_may_have_any_cseq(own_invite, sip_text) -> None:
    dialog = Dialog.from_uac(own_invite, answered(own_invite, 200, "p1", "<sip:a@h>"))
    assert dialog.receive(request_text(sip_text, "BYE", 0)).remote_cseq == 0


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_ack_and_cancel_change_nothing(method: str, uas, sip_text) -> None:
    assert uas.receive(request_text(sip_text, method, 1, contact="<sip:x@elsewhere>")) == uas


@pytest.mark.parametrize(
    ("method", "moves"),
    [("INVITE", True), ("UPDATE", True), ("BYE", False), ("INFO", False), ("OPTIONS", False)],
)
def test_a_target_refresh_moves_the_remote_target(method: str, moves: bool, uas, sip_text) -> None:
    dialog = uas.receive(request_text(sip_text, method, 32, contact="<sip:alice@moved>"))
    assert (dialog.remote_target.host == "moved") is moves
    assert dialog.route_set == uas.route_set


def test_a_2xx_to_our_re_invite_moves_the_remote_target(uas) -> None:
    dialog, re_invite = uas.next_request("INVITE", VIA)
    ok = make_response(re_invite, 200, contact="<sip:alice@moved>")
    assert dialog.refreshed(ok).remote_target.host == "moved"
    assert dialog.refreshed(make_response(re_invite, 488, contact="<sip:alice@moved>")) == dialog
    _, info = dialog.next_request("INFO", VIA)
    assert dialog.refreshed(make_response(info, 200, contact="<sip:alice@moved>")) == dialog


def test_a_request_is_matched_by_call_id_and_both_tags(uas, sip_text) -> None:
    assert uas.matches(request_text(sip_text, "BYE", 32))
    assert not uas.matches(request_text(sip_text, "BYE", 32, call_id="other"))
    assert not uas.matches(request_text(sip_text, "BYE", 32, from_="<sip:x@y>;tag=other"))
    assert not replace(uas, local_tag="b2").matches(request_text(sip_text, "BYE", 32))


def test_an_rfc_2543_caller_without_tag_and_contact_is_reached_at_from(sip_text) -> None:
    invite = parse_message(sip_text("INVITE sip:bot@example.com SIP/2.0", from_="<sip:old@192.0.2.9>"))
    dialog = Dialog.from_uas(invite, make_response(invite, 200, to_tag="b1"))
    assert (dialog.remote_tag, str(dialog.remote_target)) == ("", "sip:old@192.0.2.9")
    _, bye = dialog.next_request("BYE", VIA)
    assert bye.to.tag is None


def test_sips_over_tls_is_secure(sip_text) -> None:
    invite = parse_message(
        sip_text(
            "INVITE sips:bot@example.com SIP/2.0", via="SIP/2.0/TLS h;branch=z9hG4bKq", contact="<sips:a@h>"
        )
    )
    assert Dialog.from_uas(invite, make_response(invite, 200, to_tag="t")).secure
