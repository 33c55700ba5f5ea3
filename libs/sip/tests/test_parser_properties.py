"""parse ∘ serialise = id, for messages, URIs, addresses and Vias that hypothesis makes up."""

import contextlib
import string

from hypothesis import given
from hypothesis import strategies as st

from sipgw.sip import (
    Headers,
    NameAddress,
    OtherUri,
    SipParseError,
    SipRequest,
    SipResponse,
    SipUri,
    Via,
    parse_message,
    parse_uri,
    serialize,
)
from sipgw.sip.grammar import format_parameters, parse_parameters, quote_string, split_commas, unquote_string

TOKEN_CHARACTERS = string.ascii_letters + string.digits + "-.!%*_+`'~"
tokens = st.text(TOKEN_CHARACTERS, min_size=1, max_size=12)
one_line = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=30)
ports = st.none() | st.integers(0, 65535)
hosts = (
    st.from_regex(r"[a-z0-9]([a-z0-9\-]{0,8}[a-z0-9])?(\.[a-z0-9]{1,5}){0,2}", fullmatch=True)
    | st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map(str)
)
parameters = st.dictionaries(tokens.map(str.lower), st.none() | one_line.map(str.strip), max_size=3)
uri_words = st.text(string.ascii_letters + string.digits + "-_.!~*'()&+$", min_size=1, max_size=8)
sip_uris = st.builds(
    SipUri,
    scheme=st.sampled_from(["sip", "sips"]),
    user=st.just("u"),
    password=st.none(),
    host=hosts,
    port=ports,
    params=st.dictionaries(uri_words.map(str.lower), st.none() | uri_words, max_size=3),
    headers=st.just("") | st.just("a=b&c=d"),
).flatmap(
    lambda uri: st.builds(
        lambda user, password: SipUri(
            uri.scheme, user, password if user else None, uri.host, uri.port, uri.params, uri.headers
        ),
        st.none()
        | st.text(string.ascii_letters + string.digits + "-_.!~*'()&=+$,;?/%#", min_size=1, max_size=9),
        st.none() | uri_words,
    )
)
uris = sip_uris | st.builds(OtherUri, st.sampled_from(["tel", "urn", "http"]), uri_words)
addresses = st.builds(NameAddress, one_line.map(lambda text: text.strip(" \t")), uris, parameters)
vias = st.builds(Via, st.sampled_from(["UDP", "TCP", "TLS", "X-Y"]), hosts, ports, parameters)


@given(sip_uris)
def test_a_uri_is_the_same_after_a_round_trip(uri: SipUri) -> None:
    assert SipUri.parse(str(uri)) == uri
    assert parse_uri(str(uri)) == uri


@given(addresses)
def test_an_address_is_the_same_after_a_round_trip(address: NameAddress) -> None:
    assert NameAddress.parse(str(address)) == address


@given(addresses)
def test_an_address_that_is_copied_is_the_same_after_a_round_trip(address: NameAddress) -> None:
    assert NameAddress.parse_copied(str(address)) == address


@given(one_line.filter(lambda text: not text.strip(" \t").startswith('"')), tokens)
def test_no_display_name_hides_uri_or_tag(name: str, tag: str) -> None:
    """The URI and tag are read after any display name: only a quote at its very beginning can hide them."""
    names = [name, f'""{name}""', f'"{name.replace(chr(34), "").replace(chr(92), "")}" {name}']
    for text in names:
        text = text.replace(">", "")
        for parse in (NameAddress.parse, NameAddress.parse_copied):
            address = parse(f"{text}<sip:bob@example.com>;tag={tag};")
            assert (str(address.uri), address.tag) == ("sip:bob@example.com", tag)
            assert parse(str(address)) == address


@given(one_line)
def test_whatever_is_copied_reads_the_same_again_or_is_400(text: str) -> None:
    for parse in (NameAddress.parse, NameAddress.parse_copied):
        with contextlib.suppress(SipParseError):
            address = parse(text)
            assert parse(str(address)) == address


@given(one_line, tokens)
def test_a_tag_is_read_whole_or_refused(params: str, tag: str) -> None:
    """Parameters before or behind the tag do not change it."""
    for text in (f"<sip:a@h>;tag={tag};{params}", f"<sip:a@h>;{params};tag={tag}"):
        with contextlib.suppress(SipParseError):
            found = NameAddress.parse_copied(text).tag
            assert found == tag or "tag" in params.lower()


@given(vias)
def test_a_via_is_the_same_after_a_round_trip(via: Via) -> None:
    assert Via.parse(str(via)) == via


@given(st.lists(addresses, min_size=1, max_size=4))
def test_a_comma_list_of_addresses_splits_into_them(members: list[NameAddress]) -> None:
    line = ", ".join(map(str, members))
    assert [NameAddress.parse(part) for part in split_commas(line)] == members


@given(one_line)
def test_a_quoted_string_is_the_same_after_a_round_trip(text: str) -> None:
    assert unquote_string(quote_string(text)) == text


@given(parameters)
def test_parameters_are_the_same_after_a_round_trip(params: dict[str, str | None]) -> None:
    assert parse_parameters(format_parameters(params), "X") == params


def common_headers(via: Via, from_: NameAddress, to: NameAddress, call_id: str, cseq: str) -> Headers:
    return Headers(
        [("Via", str(via)), ("From", str(from_)), ("To", str(to)), ("Call-ID", call_id), ("CSeq", cseq)]
    )


call_ids = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
own_headers = st.lists(
    st.tuples(tokens.map("X-".__add__), one_line.map(lambda text: text.strip(" \t"))), max_size=4
)


@st.composite
def messages(draw: st.DrawFn) -> SipRequest | SipResponse:
    method = draw(tokens)
    cseq = f"{draw(st.integers(0, 2**31 - 1))} {method}"
    headers = common_headers(draw(vias), draw(addresses), draw(addresses), draw(call_ids), cseq)
    for name, value in draw(own_headers):
        headers.add(name, value)
    body = draw(st.binary(max_size=40))
    headers.add("Content-Length", str(len(body)))
    if draw(st.booleans()):
        return SipResponse(draw(st.integers(100, 699)), draw(one_line), headers, body)
    uri = draw(uris)
    if isinstance(uri, SipUri):
        uri = uri.without_headers()
    return SipRequest(method, uri, headers, body)


@given(messages())
def test_a_message_is_the_same_after_a_round_trip(message: SipRequest | SipResponse) -> None:
    data = serialize(message)
    again = parse_message(data)
    assert again == message
    assert serialize(again) == data


@given(messages(), st.data())
def test_a_folded_and_spaced_message_means_the_same(
    message: SipRequest | SipResponse, data: st.DataObject
) -> None:
    """Blanks around the colon and a fold after it change nothing (RFC 3261 §7.3.1)."""
    head, _, body = serialize(message).partition(b"\r\n\r\n")
    start_line, *lines = head.split(b"\r\n")
    styled: list[bytes] = [start_line]
    for line in lines:
        name, _, value = line.partition(b": ")
        colon = data.draw(st.sampled_from([b":", b" : ", b"\t:\t", b":\r\n  ", b" :\r\n\t"]))
        styled.append(name + colon + value)
    assert parse_message(b"\r\n".join(styled) + b"\r\n\r\n" + body) == message


@given(st.binary(max_size=300) | one_line.map(str.encode))
def test_any_octets_raise_only_the_parse_error(data: bytes) -> None:
    with contextlib.suppress(SipParseError):
        parse_message(data)
