import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.config.errors import RegexRefused
from sipgw.config.regex import compile_regex, matches


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        (r"\+49\d+", "+4930123", True),
        (r"\+49\d+", "x+4930123", False),
        (r"\+49\d+", "+4930123x", False),
        (r"\+49\d+", "+49٣", False),
        (r"(?i)sales|support", "Support", True),
        (r"sales|support", "Support", False),
        (r"(?:0049|\+49)(?P<area>30|40)\d{1,10}", "+493012", True),
        (r"[^]@]{3}", "abc", True),
        (r"[]\]a-c]+", "]ab", True),
        (r".*queue=(a|b)(;.*)?", "x;queue=b;y", True),
        (r"\d{3}-?\d{3}-?\d{4}", "555-0101234", True),
        (r"(ab){2,3}", "ababab", True),
        (r"a{2}", "aaa", False),
        (r"", "", True),
    ],
)
def test_the_whole_value_has_to_match(pattern: str, value: str, expected: bool):
    assert matches(pattern, value) is expected


def test_a_long_value_matches_nothing():
    assert matches(".*", "a" * 128)
    assert not matches(".*", "a" * 129)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+x",
        "(a*)*",
        "(a|a)*x",
        "(a|b|ab)*c",
        "(?:a?){40}a{40}",
        ".*.*.*x",
        "(.*)(.*)(.*)x",
        "a{1,100}b{1,100}c{1,100}",
        "((a{0,20}){0,20}){0,20}",
        "(x+x+)+y",
        "|".join(["(a|b|c)(a|b|c)(a|b|c)(a|b|c)(a|b|c)(a|b|c)(a|b|c)"] * 10),
        "(a)\\1",
        "(?P<x>a)(?P=x)",
        "(?=a)b",
        "(?!a)b",
        "(?<=a)b",
        "(?>a)",
        "a*+b",
        "a{,5}",
        "[[:alpha:]]",
        "[a--b]",
        "a(?i)b",
        "(a",
        "a)",
        "a)(b+)+",
        "[a",
        "*",
        "a**",
        "\\",
        "a{99999}" * 2,
        "a" * 257,
        "(" * 100 + ")" * 101,
    ],
)
def test_what_could_take_long_or_is_no_pattern_is_refused(pattern: str):
    with pytest.raises(RegexRefused):
        compile_regex(pattern)


ALPHABET = "ab()[]{}*+?|\\.,^$-12di"


@given(st.text(st.sampled_from(ALPHABET), max_size=14), st.text("ab1", max_size=128))
def test_any_text_is_refused_or_matched_quickly(pattern: str, value: str):
    """A slow match fails by pytest's timeout."""
    try:
        matches(pattern, value)
    except RegexRefused:
        return


@given(
    st.lists(
        st.sampled_from(["a*", "a+", "(a|b)", "(?:ab)*", "a?", ".", "[ab]{1,15}", "(a|ab){0,3}", "x"]),
        max_size=12,
    ),
    st.integers(0, 127),
)
def test_the_hardest_that_are_let_through_are_quick(parts: list[str], length: int):
    pattern = "".join(parts)
    try:
        matches(pattern, "a" * length + "!")
    except RegexRefused:
        return
