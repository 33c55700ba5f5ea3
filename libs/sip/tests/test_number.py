"""Numbers in user parts and tel: URIs (RFC 3966, RFC 3261 §19.1.6, RFC 4694)."""

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.sip import Subscriber, parse_uri, subscriber_of


@pytest.mark.parametrize(
    ("uri", "number", "params"),
    [
        ("sip:+15550001111@h", "+15550001111", {}),
        ("sip:%2B15550001111@h", "+15550001111", {}),
        ("sip:+1-555-000-1111@h;user=phone", "+15550001111", {}),
        ("sip:+1-555-000-1111@h", "+15550001111", {}),
        ("sip:+1.555.000.1111@h", "+15550001111", {}),
        ("sip:+1(555)000-1111@h", "+15550001111", {}),
        ("sip:%2B1%20555%20000%201111@h", "+15550001111", {}),
        ("sip:(555)000-1111@h", "5550001111", {}),
        ("sip:555.000.1111@h;user=PHONE", "5550001111", {}),
        (
            "sip:+15550001111;npdi;rn=+15559990000@h;user=phone",
            "+15550001111",
            {"npdi": "", "rn": "+15559990000"},
        ),
        ("sip:+15550001111;NPDI@h", "+15550001111", {"npdi": ""}),
        ("sip:+15550001111;cic=%2B10288@h", "+15550001111", {"cic": "+10288"}),
        ("sip:5550001111;phone-context=+1@h;user=phone", "5550001111", {"phone-context": "+1"}),
        (
            "sip:+12155550100;verstat=TN-Validation-Passed@h",
            "+12155550100",
            {"verstat": "TN-Validation-Passed"},
        ),
        ("sip:+12155550100;cpc=ordinary;oli=0@h", "+12155550100", {"cpc": "ordinary", "oli": "0"}),
        ("sip:+12155550100;x=1;;x=2;@h", "+12155550100", {"x": "1"}),
        ("sip:+12155550100@h;verstat=No-TN-Validation;lr", "+12155550100", {"verstat": "No-TN-Validation"}),
        ("sip:anonymous;verstat=No-TN-Validation@h", "anonymous", {"verstat": "No-TN-Validation"}),
        ("tel:+15550001111", "+15550001111", {}),
        (
            "tel:+1-555-000-1111;npdi;rn=+1-555-999-0000",
            "+15550001111",
            {"npdi": "", "rn": "+1-555-999-0000"},
        ),
        ("TEL:7042;phone-context=example.com", "7042", {"phone-context": "example.com"}),
        ("tel:*31#0a-b", "*31#0ab", {}),
        ("sip:*31#0301@h", "*31#0301", {}),
        ("sip:alice@h", "alice", {}),
        ("sip:alice;day=tuesday@h", "alice;day=tuesday", {}),
        ("sip:alice;day=tuesday@h;user=phone", "alice", {"day": "tuesday"}),
        ("sip:dead-beef@h", "dead-beef", {}),
        ("sip:100-200@h", "100-200", {}),
        ("sip:10.0.0.1@h", "10.0.0.1", {}),
        ("sip:+@h", "+", {}),
        ("sip:-@h;user=phone", "-", {}),
        ("sip:rec_1_2@h", "rec_1_2", {}),
        ("sip:%23%20a@h", "# a", {}),
        ("sip:h", "", {}),
        ("sip:@h", "", {}),
        ("urn:service:sos", "service:sos", {}),
    ],
)
def test_number_and_parameters_are_told_apart(uri: str, number: str, params: dict[str, str]) -> None:
    assert subscriber_of(parse_uri(uri)) == Subscriber(number, params)


digits = st.from_regex(r"[0-9]{7,15}", fullmatch=True)
separators = st.lists(st.sampled_from(["", "-", ".", "(", ")", "%20"]), min_size=20, max_size=20)
names = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
values = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=10)


@given(digits, separators, st.dictionaries(names, values, max_size=4), st.booleans())
def test_a_global_number_is_found_however_it_is_written(
    number: str, between: list[str], params: dict[str, str], is_tel: bool
) -> None:
    written = "".join(digit + separator for digit, separator in zip(number, between, strict=False))
    tail = "".join(f";{name}={quote(value, safe='')}" for name, value in params.items())
    uri = f"tel:+{written}{tail}" if is_tel else f"sip:+{written}{tail}@h"
    assert subscriber_of(parse_uri(uri)) == Subscriber(f"+{number}", params)


@given(st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=30))
def test_any_user_has_a_number_without_parameters(text: str) -> None:
    user = quote(text, safe="-_.!~*'()&=+$,;?/")
    party = subscriber_of(parse_uri(f"sip:{user}@h;user=phone"))
    assert (
        party.number == re.sub(r"[\-.() ]", "", text.split(";")[0])
        or not re.search("[0-9]", party.number)
        or (party.number == text.split(";")[0])
    )


@pytest.mark.timeout(5)
@pytest.mark.parametrize("filling", ["1", "-", "+1", "1-", "(", ";", "a;", ";=", "%2", "#"])
def test_no_user_makes_it_slow(filling: str) -> None:
    for tail in ("", "x", ";"):
        uri = parse_uri(f"sip:+{filling * (8000 // len(filling))}{tail}@h;user=phone")
        subscriber_of(uri)
