"""Numbers of a trunk in the form of E.164: `+`, country code, national number."""

import re
from typing import Final

from sipgw.api.config.v1 import config_pb2 as pb

_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_NANP: Final = "1"
_NANP_NUMBER = re.compile(r"[2-9][0-9]{9}", re.ASCII)
"""In North America ten digits are a national number with and without its prefix."""
_MOST_DIGITS: Final = 15
_FEWEST_DIGITS: Final = 7
"""Without a national prefix, fewer digits are an extension or a short code, not a national number."""


def to_e164(number: str, plan: pb.NumberPlan) -> str:
    """Return a number of a trunk in the form of E.164, by the trunk's prefixes.

    Text that they do not explain stays as it is: a number with a `+`, a name, a short code.
    """
    if not _DIGITS.fullmatch(number):
        return number
    prefixes = sorted(
        [(plan.international_prefix, ""), (plan.national_prefix, plan.country_code)],
        key=lambda one: -len(one[0]),
    )
    for prefix, country_code in prefixes:
        rest = number[len(prefix) :]
        if number.startswith(prefix) and (prefix or len(rest) >= _FEWEST_DIGITS):
            return _fitting(country_code + rest, number)
    if plan.country_code == _NANP and _NANP_NUMBER.fullmatch(number):
        return f"+{_NANP}{number}"
    return number


def _fitting(digits: str, number: str) -> str:
    """Return the digits with a `+`, or the number unchanged if E.164 has no such number."""
    is_number = _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS and digits[0] != "0"
    return f"+{digits}" if is_number else number
