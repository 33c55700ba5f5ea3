"""A trunk's numbers become E.164 by its prefixes; numbers that these do not explain stay as they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.api.config.v1 import config_pb2 as pb
from sipgw.config.numbers import to_e164

GERMANY = pb.NumberPlan(country_code="49", national_prefix="0", international_prefix="00")
SPAIN = pb.NumberPlan(country_code="34", national_prefix="", international_prefix="00")
AMERICA = pb.NumberPlan(country_code="1", national_prefix="1", international_prefix="011")
WITHOUT_PLUS = pb.NumberPlan(country_code="49", national_prefix="0", international_prefix="")


@pytest.mark.parametrize(
    ("plan", "number", "normal"),
    [
        (GERMANY, "030123456", "+4930123456"),
        (GERMANY, "00441632960000", "+441632960000"),
        (GERMANY, "004930123456", "+4930123456"),
        (GERMANY, "+4930123456", "+4930123456"),
        (GERMANY, "123456", "123456"),
        (GERMANY, "4930123456", "4930123456"),
        (GERMANY, "110", "110"),
        (GERMANY, "0", "0"),
        (GERMANY, "00", "00"),
        (GERMANY, "000441632960000", "000441632960000"),
        (GERMANY, "0" * 30, "0" * 30),
        (GERMANY, "0123456789012345", "0123456789012345"),
        (GERMANY, "alice", "alice"),
        (GERMANY, "*31#030123456", "*31#030123456"),
        (GERMANY, "", ""),
        (GERMANY, "٠٣٠١٢٣٤٥٦", "٠٣٠١٢٣٤٥٦"),
        (SPAIN, "912345678", "+34912345678"),
        (SPAIN, "0034912345678", "+34912345678"),
        (SPAIN, "112", "112"),
        (AMERICA, "15550001111", "+15550001111"),
        (AMERICA, "5550001111", "+15550001111"),
        (AMERICA, "011442079460000", "+442079460000"),
        (AMERICA, "911", "911"),
        (AMERICA, "1111", "1111"),
        (WITHOUT_PLUS, "4930123456", "+4930123456"),
        (WITHOUT_PLUS, "030123456", "+4930123456"),
        (WITHOUT_PLUS, "110", "110"),
    ],
)
def test_prefixes_become_country_codes(plan: pb.NumberPlan, number: str, normal: str) -> None:
    assert to_e164(number, plan) == normal


@given(
    st.text(max_size=20) | st.from_regex(r"[0-9]{0,20}", fullmatch=True),
    st.sampled_from([GERMANY, SPAIN, AMERICA]),
)
def test_a_number_is_normalised_once(number: str, plan: pb.NumberPlan) -> None:
    once = to_e164(number, plan)
    assert to_e164(once, plan) == once
    assert once == number or (once[0] == "+" and 7 <= len(once) - 1 <= 15 and once[1] != "0")
