r"""Regular expressions with bounded matching time: a subset of RE2's syntax, with a bound on backtracking.

Python's ``re`` backtracks, so ``(a+)+x`` takes years on 40 letters. Here a pattern is walked once to count
the ways it could be tried on a value of MAX_VALUE characters; too many is an error at load. The whole value
has to match; ``\d`` and ``\w`` mean ASCII.
"""

import re
from functools import lru_cache

from sipgw.config.errors import RegexRefused

MAX_VALUE = 128  # characters of a value; a longer one matches no regex
MAX_PATTERN = 256
MAX_WAYS = 50_000

_QUANTIFIER = re.compile(r"([*+?])|\{(\d{1,4})(?:(,)(\d{1,4})?)?\}")
_BRACES = re.compile(r"\{[\d,]+\}")
_DOUBLED_IN_CLASS = ("--", "&&", "~~", "||")  # re reserves these for set operations, which RE2 does not have
_GROUP_OPENING = re.compile(r"\((?:\?:|\?P<[A-Za-z_]\w{0,31}>|(?!\?))")


@lru_cache(maxsize=4096)
def compile_regex(pattern: str) -> re.Pattern[str]:
    """Compile the pattern. Raises RegexRefused, which names the fault and its place."""
    if len(pattern) > MAX_PATTERN:
        raise RegexRefused(f"{len(pattern)} characters, at most {MAX_PATTERN}")
    body = pattern.removeprefix("(?i)")
    flags = re.ASCII if body == pattern else re.ASCII | re.IGNORECASE
    _Walk(body).check()
    try:
        return re.compile(body, flags)
    except (re.error, OverflowError) as error:
        raise RegexRefused(str(error)) from error


def matches(pattern: str, value: str) -> bool:
    """Return whether all of ``value`` matches."""
    return len(value) <= MAX_VALUE and compile_regex(pattern).fullmatch(value) is not None


class _Walk:
    """One pass over a pattern; ``ways`` counts the paths that a backtracking matcher could take.

    re.compile refuses text that is no pattern at all.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def check(self) -> None:
        ways = 0
        while self._at < len(self._pattern):
            ways += self._alternatives()
            self._at += 1  # an unbalanced parenthesis
        if ways > MAX_WAYS:
            raise RegexRefused("could take too long: fewer * and +, or bounds such as {1,15}")

    def _alternatives(self) -> int:
        ways = self._sequence()
        while self._peek() == "|":
            self._at += 1
            ways += self._sequence()
        return ways

    def _sequence(self) -> int:
        ways = 1
        while self._peek() not in ("", "|", ")"):
            ways = min(ways * self._repeated(self._atom()), MAX_WAYS + 1)
        return ways

    def _atom(self) -> int:
        match self._peek():
            case "(":
                return self._group()
            case "[":
                self._skip_class()
            case "\\":
                if self._pattern[self._at + 1 : self._at + 2].isdigit():
                    raise RegexRefused(f"back-references are not supported (position {self._at})")
                self._at += 2
            case _:
                self._at += 1
        return 1

    def _group(self) -> int:
        opening = _GROUP_OPENING.match(self._pattern, self._at)
        if opening is None:
            raise RegexRefused(f"only (...), (?:...) and (?P<name>...) are supported (position {self._at})")
        self._at = opening.end()
        ways = self._alternatives()
        self._at += 1  # the closing parenthesis
        return ways

    def _skip_class(self) -> None:
        begin = self._at
        self._at += 2 if self._pattern.startswith("[^", self._at) else 1
        self._at += 1 if self._peek() == "]" else 0  # at the beginning it is a literal
        while self._peek() not in ("", "]"):
            if self._peek() == "[" or self._pattern.startswith(_DOUBLED_IN_CLASS, self._at):
                raise RegexRefused(f"{self._peek()!r} inside [...] needs a backslash (position {begin})")
            self._at += 2 if self._peek() == "\\" else 1
        self._at += 1

    def _repeated(self, ways: int) -> int:
        quantifier = _QUANTIFIER.match(self._pattern, self._at)
        if quantifier is None:
            if _BRACES.match(self._pattern, self._at):
                raise RegexRefused(f"bounds are {{n}}, {{n,}} or {{n,m}} (position {self._at})")
            return ways
        self._at = quantifier.end()
        if self._peek() == "+":
            raise RegexRefused(f"possessive quantifiers are not supported (position {self._at})")
        if self._peek() == "?":
            self._at += 1
        return _ways_to_repeat(ways, *_bounds(quantifier))

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]


def _bounds(quantifier: re.Match[str]) -> tuple[int, int]:
    symbol, least, comma, most = quantifier.groups()
    if symbol:
        return {"*": (0, MAX_VALUE), "+": (1, MAX_VALUE), "?": (0, 1)}[symbol]
    if comma:
        return int(least), min(int(most), MAX_VALUE) if most else MAX_VALUE
    return int(least), int(least)


def _ways_to_repeat(ways: int, least: int, most: int) -> int:
    """Return the sum of ways**k for each count k, cut off above MAX_WAYS."""
    if ways == 1:
        return max(most - least + 1, 1)
    total = 0
    for count in range(least, most + 1):
        if count > 16:  # 2**16 is above MAX_WAYS
            return MAX_WAYS + 1
        total += ways**count
    return min(max(total, 1), MAX_WAYS + 1)
