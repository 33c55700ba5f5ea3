"""parse_message: framing, limits, refused messages, and faulty requests that still get a response."""

import contextlib

import pytest

from sipgw.sip import (
    ParserLimits,
    SipParseError,
    SipRequest,
    SipResponse,
    make_response,
    parse_message,
)

INVITE = "INVITE sip:bot@example.com SIP/2.0"


def refused(data: bytes, limits: ParserLimits | None = None) -> SipParseError:
    with pytest.raises(SipParseError) as caught:
        parse_message(data, limits or ParserLimits())
    return caught.value


def test_a_request_is_read(sip_text) -> None:
    request = parse_message(sip_text(INVITE, body=b"v=0\r\n", content_type="Application/SDP; x=y"))
    assert isinstance(request, SipRequest)
    assert (request.method, str(request.uri), request.version) == ("INVITE", "sip:bot@example.com", "SIP/2.0")
    assert (request.call_id, request.cseq, request.max_forwards) == ("call-1@192.0.2.1", (1, "INVITE"), 70)
    assert str(request.cseq) == "1 INVITE"
    assert (request.from_.tag, request.to.tag, request.content_type) == ("a1", None, "application/sdp")
    assert request.body == b"v=0\r\n"
    assert request.contact is None
    assert request.route is None


def test_a_response_is_read(sip_text) -> None:
    response = parse_message(
        sip_text("SIP/2.0 183 Session Progress", require="100rel, timer", k="a", allow="INVITE")
    )
    assert isinstance(response, SipResponse)
    assert (response.status, response.reason) == (183, "Session Progress")
    assert (response.is_provisional, response.is_success, response.is_failure) == (True, False, False)
    assert (response.require, response.tokens("Supported"), response.tokens("Allow")) == (
        ("100rel", "timer"),
        ("a",),
        ("INVITE",),
    )


def test_lists_of_addresses_are_read(sip_text) -> None:
    request = parse_message(
        sip_text(
            INVITE,
            contact="<sip:a@h>, <sip:b@h>",
            record_route="<sip:p1;lr>,<sip:p2;lr>",
            diversion="<tel:1>",
        )
    )
    assert [str(contact.uri) for contact in request.contacts] == ["sip:a@h", "sip:b@h"]
    assert [route.uri.host for route in request.record_routes] == ["p1", "p2"]
    assert [str(address.uri) for address in request.addresses("Diversion")] == ["tel:1"]


def test_a_star_contact_names_no_address(sip_text) -> None:
    assert parse_message(sip_text("REGISTER sip:h SIP/2.0", contact="*")).contacts == ()


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_either_line_end_is_read(line_end: bytes, sip_text) -> None:
    data = sip_text(INVITE, body=b"a\n\nb", subject="x").replace(b"\r\n", line_end)
    message = parse_message(data)
    assert message.headers.get("Subject") == "x"
    assert message.body == b"a\n\nb"


def test_empty_lines_before_a_message_are_skipped(sip_text) -> None:
    assert parse_message(b"\r\n\r\n" + sip_text(INVITE)).call_id == "call-1@192.0.2.1"


def test_a_folded_line_is_one_line(sip_text) -> None:
    assert (
        parse_message(sip_text(INVITE, subject="one\r\n two\r\n\tthree")).headers.get("Subject")
        == "one two three"
    )


def test_version_and_header_names_have_no_case(sip_text) -> None:
    request = parse_message(
        sip_text(INVITE).replace(b"SIP/2.0\r\n", b"sip/2.0\r\n", 1).replace(b"call-id", b"cAlL-iD")
    )
    assert request.call_id == "call-1@192.0.2.1"


def test_a_body_without_content_length_is_the_rest(sip_text) -> None:
    data = sip_text(INVITE, body=b"abc").replace(b"Content-Length: 3\r\n", b"")
    assert parse_message(data).body == b"abc"


def test_what_follows_the_body_is_dropped(sip_text) -> None:
    assert parse_message(sip_text(INVITE, body=b"abc") + b"INVITE ...").body == b"abc"


def test_text_that_is_not_utf8_is_read_as_latin1(sip_text) -> None:
    data = sip_text(INVITE, subject="SUBJ").replace(b"SUBJ", b"B\xfcro")
    assert parse_message(data).headers.get("Subject") == "Büro"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"via": None}, "Missing Via"),
        ({"from_": None}, "Missing From"),
        ({"to": None}, "Missing To"),
        ({"call_id": None}, "Missing Call-ID"),
        ({"cseq": None}, "Missing CSeq"),
        ({"via": "SIP/2.0/UDP h;;"}, "Malformed Via Parameters"),
        ({"from_": '"x <sip:a@b>'}, "Malformed From"),
        ({"to": '"x" <sip:'}, "Malformed To"),
        ({"to": "<sip:a@b>;tag=a b"}, "Malformed To Parameters"),
        ({"call_id": ""}, "Malformed Call-ID"),
        ({"call_id": "a b"}, "Malformed Call-ID"),
        ({"cseq": "INVITE"}, "Malformed CSeq"),
        ({"cseq": "-1 INVITE"}, "Malformed CSeq"),
        ({"cseq": "2147483648 INVITE"}, "Malformed CSeq"),
        ({"cseq": "9" * 5000 + " INVITE"}, "Malformed CSeq"),
        ({"cseq": "1 BYE"}, "CSeq Method Mismatch"),
        ({"cseq": "1 invite"}, "CSeq Method Mismatch"),
        ({"max_forwards": "-1"}, "Malformed Max-Forwards"),
        ({"max_forwards": "256"}, "Malformed Max-Forwards"),
        ({"max_forwards": ""}, "Malformed Max-Forwards"),
        ({"max_forwards": "٣"}, "Malformed Max-Forwards"),
        ({"f": "<sip:second@b>"}, "Multiple From"),
        ({"i": "second"}, "Multiple Call-ID"),
        ({"l": "0"}, "Multiple Content-Length"),
        ({"contact": '<sip:a@b, "x"'}, "Unterminated Quote"),
        ({"contact": "sip:a@b?x=y"}, "Malformed Contact"),
        ({"contact": "<a@b>"}, "Malformed Contact URI"),
        ({"record_route": "<sip:a@b:x>"}, "Malformed Record-Route URI"),
        ({"require x": "100rel"}, "Malformed Header Line"),
    ],
)
def test_a_malformed_request_is_400_and_can_be_answered(
    change: dict[str, str], reason: str, sip_text
) -> None:
    data = sip_text(INVITE, **dict(change.items()))
    error = refused(data)
    assert (error.status, error.reason) == (400, reason)
    assert error.request is not None
    assert error.request.method == "INVITE"


@pytest.mark.parametrize(
    "change",
    [
        {"bad name": "x"},
        {"subject": "x\r\nno colon"},
        {"subject": "x\r\nX-Broken line: a"},
        {"subject": "x\r\n: no name"},
        {"record_route": "<sip:a@b>;;"},
        {"to": "<sip:>"},
        {"from_": '""x"" <sip:@h>;tag=1;'},
        {"contact": "Bell, A <sip:a@h;x=;>;"},
        {"p_asserted_identity": '"x <sip:>'},
        {"accept": '"x'},
        {"supported": '"x'},
        {"user_agent": "\x00"},
        {"date": "?"},
    ],
)
def test_what_is_only_copied_or_not_used_may_break_the_grammar(change: dict[str, str], sip_text) -> None:
    request = parse_message(sip_text(INVITE, **change))
    assert request.method == "INVITE"
    for name in ("Accept", "Supported", "Require", "Allow"):
        assert isinstance(request.tokens(name), tuple)


@pytest.mark.parametrize(
    "change",
    [
        {"contact": "<a@b>"},
        {"contact": '"open <sip:a@b>'},
        {"record_route": "<sip:a@b:x>"},
        {"max_forwards": "-1"},
        {"max_forwards": "1\r\nMax-Forwards: 2"},
        {"c": "text/plain\r\nContent-Type: text/plain"},
        {"to": "<sip:>;tag=1"},
    ],
)
def test_a_response_is_read_without_what_it_need_not_have(change: dict[str, str], sip_text) -> None:
    response = parse_message(sip_text("SIP/2.0 200 OK", cseq="1 INVITE", **change))
    assert isinstance(response, SipResponse)
    assert response.status == 200


@pytest.mark.parametrize(
    "change",
    [{"via": "SIP/2.0/UDP h;;"}, {"cseq": "x"}, {"call_id": ""}, {"to": "<sip:a@b>;tag=a b"}, {"l": "9"}],
)
def test_what_identifies_a_response_is_read_strictly(change: dict[str, str], sip_text) -> None:
    refused(sip_text("SIP/2.0 200 OK", **{"cseq": "1 INVITE", **change}))


def test_within_a_dialog_a_record_route_is_not_read(sip_text) -> None:
    broken = {"record_route": "<sip:a@b:x>"}
    assert parse_message(sip_text(INVITE, to="<sip:b@h>;tag=1", **broken)).to.tag == "1"
    assert refused(sip_text(INVITE, **broken)).reason == "Malformed Record-Route URI"


@pytest.mark.parametrize(
    ("start_line", "status"),
    [
        ("INVITE sip:a@b SIP/3.0", 505),
        ("INVITE sip:a@b SIP/2.1", 505),
        ("INVITE  sip:a@b SIP/2.0", 400),
        ("INVITE sip:a@b  SIP/2.0", 400),
        ("INVITE sip:a@b SIP/2.0 ", 400),
        ("INVITE <sip:a@b> SIP/2.0", 400),
        ("INVITE sip:a b SIP/2.0", 400),
        ("INVITE sip:a@b?x=y SIP/2.0", 400),
        ("INVITE a@b SIP/2.0", 400),
        ("INVITE sip:a@b:99999 SIP/2.0", 400),
    ],
)
def test_a_bad_request_line_can_be_answered(start_line: str, status: int, sip_text) -> None:
    error = refused(sip_text(start_line, cseq="1 INVITE"))
    assert error.status == status
    assert error.request is not None
    assert error.request.call_id == "call-1@192.0.2.1"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"garbage",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"INVITE sip:a@b\r\n\r\n",
        b"IN(VITE sip:a@b SIP/2.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x80\x00\x12\x34" * 43,
        b"SIP/2.0 2000 OK\r\n\r\n",
        b"SIP/2.0 099 OK\r\n\r\n",
        b"SIP/2.0 OK\r\n\r\n",
        b"SIP/3.0 200 OK\r\n\r\n",
    ],
)
def test_what_is_no_request_cannot_be_answered(data: bytes) -> None:
    assert refused(data).request is None


def test_a_malformed_response_cannot_be_answered(sip_text) -> None:
    assert refused(sip_text("SIP/2.0 200 OK", cseq="x")).request is None


@pytest.mark.parametrize("length", ["4", "-1", "x", "", "9" * 5000, "1 2"])
def test_a_content_length_that_cannot_be_is_400(length: str, sip_text) -> None:
    data = sip_text(INVITE, body=b"abc").replace(b"Content-Length: 3", b"Content-Length: " + length.encode())
    assert refused(data).status == 400


def test_a_message_without_its_empty_line_is_400(sip_text) -> None:
    error = refused(sip_text(INVITE)[:-4])
    assert (error.status, error.reason) == (400, "Missing Empty Line")
    assert error.request is not None
    assert error.request.via.branch == "z9hG4bK-1"


def test_a_stray_carriage_return_is_400(sip_text) -> None:
    assert refused(sip_text(INVITE, subject="a\rVia: b")).reason == "Stray Carriage Return"


def test_beyond_the_limits_it_is_513_with_what_its_response_repeats(sip_text) -> None:
    for change in ({"subject": "x" * 9000}, {"subject": "x" * 40_000}):
        error = refused(sip_text(INVITE, **change))
        assert error.status == 513
        assert error.request is not None
        assert error.request.call_id == "call-1@192.0.2.1"
    many = sip_text(INVITE).replace(b"\r\n\r\n", b"\r\nX: y" * 300 + b"\r\n\r\n")
    error = refused(many)
    assert (error.status, error.reason) == (513, "Too Many Header Lines")
    assert error.request is not None
    assert {name for name, _ in error.request.headers} == {"Via", "From", "To", "Call-ID", "CSeq"}


def test_the_limits_are_the_callers_to_set(sip_text) -> None:
    data = sip_text(INVITE, subject="x" * 100)
    assert refused(data, ParserLimits(line_characters=99)).status == 513
    assert refused(data, ParserLimits(head_bytes=200)).status == 513
    assert refused(data, ParserLimits(header_lines=3)).status == 513
    assert parse_message(data).headers.get("Subject") == "x" * 100


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "filling",
    [
        " ",
        "\t",
        "\r\n ",
        "a ",
        ";",
        ",",
        '"',
        '\\"',
        "<",
        "<>",
        "=",
        ";a",
        ";a=",
        "a,",
        "%",
        "@",
        ":",
        "SIP/1",
        "[:",
        '"",',
    ],
)
def test_no_filling_makes_the_parser_slow(filling: str, sip_text) -> None:
    """Fill every header that is read with 8 kB: a parser that backtracks would need minutes."""
    text = filling * (8000 // len(filling))
    for name in (
        "via",
        "from_",
        "to",
        "call_id",
        "cseq",
        "contact",
        "record_route",
        "require",
        "max_forwards",
    ):
        for value in (text, "<sip:a@b>" + text, '"' + text, "SIP/2.0/UDP h" + text + "x", "sip:" + text):
            try:
                message = parse_message(sip_text(INVITE, **{name: value}))
                assert message.require is not None
            except SipParseError:
                pass
    for line in (
        f"INVITE sip:{text} SIP/2.0",
        f"INVITE {text}SIP/2.0",
        f"{text} sip:a@b SIP/2.0",
        f"SIP/2.0 {text}",
    ):
        with contextlib.suppress(SipParseError):
            parse_message(sip_text(line, cseq="1 INVITE"))


@pytest.mark.parametrize(
    "filler",
    [b"X: " + b"x" * 40_000 + b"\r\n", b"X: x\r\n" * 300, b"X: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n" * 1200],
    ids=["one line", "many lines", "many bytes"],
)
@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
def test_of_a_message_that_is_too_large_a_response_can_be_made(filler: bytes, *, is_before: bool) -> None:
    own = (
        b"v: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\nf: <sip:a@x>;tag=1\r\nTo : <sip:b@x>\r\n"
        b"i: c1\r\nCSeq: 7 INVITE\r\n"
    )
    with pytest.raises(SipParseError) as raised:
        parse_message(b"INVITE sip:b@x SIP/2.0\r\n" + (filler + own if is_before else own + filler) + b"\r\n")
    assert raised.value.status == 513
    assert raised.value.request is not None
    response = make_response(raised.value.request, 513, to_tag="t")
    assert [name for name, _ in response.headers] == ["Via", "From", "To", "Call-ID", "CSeq"]
    assert (response.call_id, response.cseq.number, response.to.tag) == ("c1", 7, "t")
