"""Name-addr and addr-spec (RFC 3261 §20.10)."""

import pytest

from sipgw.sip import NameAddress, OtherUri, SipParseError, SipUri

BOB = SipUri.parse("sip:bob@example.com")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sip:bob@example.com", NameAddress("", BOB)),
        ("sip:bob@example.com ; tag = x", NameAddress("", BOB, {"tag": "x"})),
        ("<sip:bob@example.com>", NameAddress("", BOB)),
        ("<sip:bob@example.com>;tag=x", NameAddress("", BOB, {"tag": "x"})),
        ("Bob  <sip:bob@example.com>", NameAddress("Bob", BOB)),
        ("Bob<sip:bob@example.com>", NameAddress("Bob", BOB)),
        ("Bob R. Smith <sip:bob@example.com>", NameAddress("Bob R. Smith", BOB)),
        ("Bob (Büro) <sip:bob@example.com>", NameAddress("Bob (Büro)", BOB)),
        (
            r'"B \"the\\x\" , <y>" <sip:bob@example.com>;tag=x',
            NameAddress('B "the\\x" , <y>', BOB, {"tag": "x"}),
        ),
        ('"" <sip:bob@example.com>', NameAddress("", BOB)),
        ('<sip:b@h;lr>;x="a;b,c"', NameAddress("", SipUri.parse("sip:b@h;lr"), {"x": "a;b,c"})),
        ("<tel:+4930>", NameAddress("", OtherUri("tel", "+4930"))),
    ],
)
def test_an_address_is_read(text: str, expected: NameAddress) -> None:
    address = NameAddress.parse(text)
    assert address == expected
    assert NameAddress.parse(str(address)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bob",
        '"Bob <sip:bob@example.com>',
        "<sip:bob@example.com",
        "< sip:bob@example.com >",
        "Bell, Alexander <sip:bob@example.com>",
        "<sip:bob@example.com>;;",
        "<sip:bob@example.com>;",
        "<sip:bob@example.com> x",
        "<sip:bob@example.com>;tag=a b",
        '<sip:bob@example.com>;x="open',
        "sip:bob@example.com?x=y",
        "sip:bob@example.com,sip:x@y",
        "<>",
    ],
)
def test_a_malformed_address_is_400_and_names_its_header(text: str) -> None:
    with pytest.raises(SipParseError, match="400 Malformed From"):
        NameAddress.parse(text, "From")


def test_an_empty_tag_is_no_tag() -> None:
    assert NameAddress.parse("<sip:a@b>;tag=").tag is None
    assert NameAddress.parse("<sip:a@b>;TAG=Xy").tag == "Xy"


def test_a_tag_is_set_replaced_and_taken_away() -> None:
    address = NameAddress.parse("A <sip:a@b>;x=1;tag=old")
    assert str(address.with_tag("new")) == "A <sip:a@b>;x=1;tag=new"
    assert str(address.with_tag(None)) == "A <sip:a@b>;x=1"
    assert address.tag == "old"


def test_a_display_name_is_quoted_when_it_must_be() -> None:
    assert str(NameAddress('a"b\\c', BOB)) == r'"a\"b\\c" <sip:bob@example.com>'
    assert str(NameAddress("plain name", BOB)) == "plain name <sip:bob@example.com>"
    assert str(NameAddress(" edge ", BOB)) == '" edge " <sip:bob@example.com>'
