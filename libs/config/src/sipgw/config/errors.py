"""Errors of documents: all problems at once, each with its place and its cure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing to correct. ``line`` counts from 1, 0 without a line; ``field`` is a dotted path."""

    file: str
    line: int
    field: str
    found: str
    allowed: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        field = f" {self.field}:" if self.field else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}:{field} found {self.found}; allowed: {self.allowed}{hint}"


class ConfigError(Exception):
    """The documents can't be used; ``problems`` holds every reason, in the order of the text."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class RegexRefused(ValueError):
    """The pattern is no regular expression, or matching it could take long."""
