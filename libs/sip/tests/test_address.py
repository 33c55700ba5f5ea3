"""Name-addr and addr-spec (RFC 3261 §20.10)."""

import pytest

from sipgw.sip import NameAddress, OtherUri, SipParseError, SipUri
from sipgw.sip.address import split_addresses

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
        ('sip:bob@example.com;x="<y>"', NameAddress("", BOB, {"x": "<y>"})),
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
        "<sip:bob@example.com> x",
        "<sip:bob@example.com>tag=a",
        "<sip:bob@example.com>;tag=a b",
        '<sip:bob@example.com>;tag="open',
        '<sip:bob@example.com>;x="open;tag=a',
        "<sip:bob@example.com>;x=a tag=b",
        '"Bob\\" <sip:bob@example.com>',
        '"Bob" bob',
        "sip:bob@example.com?x=y",
        "sip:bob@example.com,sip:x@y",
        "<>",
    ],
)
def test_a_malformed_address_is_400_and_names_its_header(text: str) -> None:
    with pytest.raises(SipParseError, match="400 Malformed From"):
        NameAddress.parse(text, "From")


@pytest.mark.parametrize(
    ("text", "display_name", "tag"),
    [
        ('""unknown"" <sip:bob@example.com>;tag=a', "unknown", "a"),
        ('"Bob" "Bobby" <sip:bob@example.com>;tag=a', 'Bob" "Bobby', "a"),
        ('Bob "Bobby" Smith <sip:bob@example.com>;tag=a', 'Bob "Bobby" Smith', "a"),
        ('O"Brien <sip:bob@example.com>;tag=a', 'O"Brien', "a"),
        ('"Bob"" <sip:bob@example.com>;tag=a', "Bob", "a"),
        ("Bell, Alexander <sip:bob@example.com>;tag=a", "Bell, Alexander", "a"),
        ("Bell; Alexander <sip:bob@example.com>;tag=a", "Bell; Alexander", "a"),
        ("a:b;c <sip:bob@example.com>;tag=a", "a:b;c", "a"),
        ('"a <sip:x@y>;" b <sip:bob@example.com>;tag=a', 'a <sip:x@y>;" b', "a"),
        ("a <b> c <sip:bob@example.com>;tag=a", "a <b> c", "a"),
        ('"Bob" sip:bob@example.com;tag=a', "Bob", "a"),
        ("Bob sip:bob@example.com;tag=a", "Bob", "a"),
        ("< sip:bob@example.com >;tag=a", "", "a"),
        ("<sip:bob@example.com>;;tag=a", "", "a"),
        ("<sip:bob@example.com>;tag=a;", "", "a"),
        ("<sip:bob@example.com>;tag=a;x y;z", "", "a"),
        ('<sip:bob@example.com>;tag=a;x="open', "", "a"),
        ('<sip:bob@example.com>;x="open', "", None),
    ],
)
def test_what_breaks_the_grammar_beside_uri_and_tag_costs_nothing(
    text: str, display_name: str, tag: str | None
) -> None:
    for parse in (NameAddress.parse, NameAddress.parse_copied):
        address = parse(text, "From")
        assert (address.display_name, address.uri, address.tag) == (display_name, BOB, tag)
        assert parse(str(address), "From") == address


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("<>;tag=a", ""),
        ("<anonymous@anonymous.invalid>;tag=a", "anonymous@anonymous.invalid"),
        ("<sip:>;tag=a", "sip:"),
        ("<sip:a b@h>;tag=a", "sip:a b@h"),
        ("<sip:a@b@c>;tag=a", "sip:a@b@c"),
        ("<sip:h:99999>;tag=a", "sip:h:99999"),
        ("bob;tag=a", "bob"),
        ("sip:a@h,sip:b@h;tag=a", "sip:a@h,sip:b@h"),
    ],
)
def test_a_uri_that_is_only_copied_is_kept_as_it_came(text: str, uri: str) -> None:
    address = NameAddress.parse_copied(text, "To")
    assert (address.uri, address.tag) == (OtherUri("", uri), "a")
    assert f"<{uri}>" in str(address)
    assert NameAddress.parse_copied(str(address)) == address
    with pytest.raises(SipParseError, match="400 Malformed Contact"):
        NameAddress.parse(text, "Contact")


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("<sip:a@h>, <sip:b@h>", ["<sip:a@h>", "<sip:b@h>"]),
        ("sip:a@h, sip:b@h", ["sip:a@h", "sip:b@h"]),
        ("<sip:a@h>,", ["<sip:a@h>"]),
        ("Bell, A <sip:a@h>, <sip:b@h>", ["Bell, A <sip:a@h>", "<sip:b@h>"]),
        ('O"Brien, X <sip:a@h>,<sip:b@h>', ['O"Brien, X <sip:a@h>', "<sip:b@h>"]),
        ('"a, b" <sip:a@h>;x="1, 2", <sip:b@h>', ['"a, b" <sip:a@h>;x="1, 2"', "<sip:b@h>"]),
        ("<sip:a,b@h>", ["<sip:a,b@h>"]),
        ("", []),
    ],
)
def test_a_list_of_addresses_is_split_between_them(value: str, addresses: list[str]) -> None:
    assert split_addresses(value) == addresses


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
