"""Headers: order, names without case, compact forms, comma lists, cached readings."""

import pytest

from sipgw.sip import Headers, SipParseError
from sipgw.sip.headers import COMPACT_FORMS


def test_names_have_no_case_and_compact_forms_are_long_names() -> None:
    headers = Headers([("v", "one"), ("VIA", "two"), ("X-Own", "three")])
    assert headers.items() == [("Via", "one"), ("Via", "two"), ("X-Own", "three")]
    assert headers.get("vIa") == headers.get("V") == "one"
    assert headers.get_all("via") == ["one", "two"]
    assert headers.get("x-own") == "three"
    assert headers.get("absent") is None
    assert headers.get_all("absent") == []


@pytest.mark.parametrize(("compact", "name"), COMPACT_FORMS.items())
def test_every_compact_form_is_its_header(compact: str, name: str) -> None:
    assert Headers([(compact, "x")]).get(name) == "x"
    assert Headers([(compact.upper(), "x")]).items() == [(name, "x")]


def test_changing_keeps_the_order() -> None:
    headers = Headers([("X-A", "1"), ("X-B", "2"), ("x-a", "3")])
    headers.set("x-a", "4")
    assert headers.items() == [("X-A", "4"), ("X-B", "2")]
    headers.add("x-b", "5")
    headers.replace_first("x-b", "6")
    assert headers.items() == [("X-A", "4"), ("X-B", "6"), ("x-b", "5")]
    headers.remove("X-B")
    headers.remove("nothing")
    headers.add("t", "7")
    headers.set("New", "8")
    headers.replace_first("Newer", "9")
    assert headers.items() == [("X-A", "4"), ("To", "7"), ("New", "8"), ("Newer", "9")]
    assert len(headers) == 4
    assert "to" in headers
    assert "x-b" not in headers
    assert repr(headers).startswith("Headers([('X-A', '4')")


def test_values_split_at_commas_but_not_in_quotes_and_brackets() -> None:
    headers = Headers(
        [("Contact", '"a, b" <sip:x,y@h>;p="q,r" , <sip:z@h>'), ("m", "<sip:w@h>"), ("Allow", "A, B,,C")]
    )
    assert headers.values("Contact") == ['"a, b" <sip:x,y@h>;p="q,r"', "<sip:z@h>", "<sip:w@h>"]
    assert headers.values("allow") == ["A", "B", "", "C"]


@pytest.mark.parametrize("value", ['a, "open', '<sip:x, "b"', '"a\\", b'])
def test_an_open_quote_is_400(value: str) -> None:
    with pytest.raises(SipParseError, match="400"):
        Headers([("X", value)]).values("X")


def test_a_reading_is_computed_once_until_its_header_changes() -> None:
    headers = Headers([("To", "a"), ("From", "b")])
    calls: list[str | None] = []

    def read_to(headers: Headers) -> str | None:
        calls.append(headers.get("To"))
        return headers.get("To")

    assert headers.parsed("to", read_to) == headers.parsed("to", read_to) == "a"
    headers.set("From", "c")
    headers.parsed("to", read_to)
    assert calls == ["a"]
    headers.set("t", "d")
    assert headers.parsed("to", read_to) == "d"


def test_a_copy_is_independent_and_equality_ignores_the_case_of_names() -> None:
    headers = Headers([("X-One", "1")])
    copy = headers.copy()
    assert copy == headers == Headers([("x-one", "1")])
    copy.add("X-Two", "2")
    assert copy != headers
    assert headers != [("X-One", "1")]
    assert list(headers) == [("X-One", "1")]
