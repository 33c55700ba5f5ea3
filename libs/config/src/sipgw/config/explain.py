"""pydantic's errors as ConfigProblems: line, field, the value found, the values allowed, a suggestion."""

import difflib
from typing import cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sipgw.config.errors import ConfigProblem
from sipgw.config.fields import describe, field_at, fields_of, model_at
from sipgw.config.yaml_source import LocatedDocument, Path, dotted

_LONGEST_SHOWN = 60


def explain(error: ValidationError, model: type[BaseModel], document: LocatedDocument) -> list[ConfigProblem]:
    """One problem for each error, in the order of the text."""
    problems = [_explain(one, model, document) for one in error.errors(include_url=False)]
    return sorted(problems, key=lambda problem: problem.line)


def did_you_mean(found: str, candidates: list[str]) -> str:
    """Return a hint when one candidate is near.

    Another spelling like ``bot_ready`` counts as near to ``bot-ready``.
    """
    plain = {candidate.lower().replace("-", "").replace("_", ""): candidate for candidate in candidates}
    near = difflib.get_close_matches(found.lower().replace("-", "").replace("_", ""), list(plain), n=1)
    return f"did you mean {plain[near[0]]}?" if near else ""


def _explain(error: ErrorDetails, model: type[BaseModel], document: LocatedDocument) -> ConfigProblem:
    path = _as_written(error["loc"])
    file, line, field = document.file, document.line_of(path), dotted(path)
    kind = error["type"]
    if kind == "extra_forbidden":
        around = model_at(model, path[:-1])
        names = list(fields_of(around)) if around else []
        hint = did_you_mean(str(path[-1]), names)
        return ConfigProblem(file, line, field, "an unknown field", ", ".join(names), hint)
    if kind == "refused":
        context = cast("dict[str, str]", error.get("ctx", {}))
        return ConfigProblem(file, line, field, context["found"], context["allowed"])
    at = field_at(model, path)
    allowed = describe(*at) if at else error["msg"]
    if kind == "missing":
        return ConfigProblem(file, line, field, "nothing", allowed, "the field is required")
    found = _found(error["input"], document.written.get(path))
    return ConfigProblem(file, line, field, found, allowed, _hint(kind, error["input"], allowed))


def _as_written(location: tuple[int | str, ...]) -> Path:
    """Return the path as the document writes it.

    pydantic marks a map's key as ``nodes -> <key> -> [key]``.
    """
    return location[:-1] if location and location[-1] == "[key]" else location


def _found(value: object, written: str | None) -> str:
    match value:
        case None:
            return "nothing"
        case str():
            return _cut(repr(value))
        case bool():
            return f"{written or value} (true or false)"
        case int() | float():
            return f"{_cut(written or str(value))} (a number)"
        case dict():
            return "a map"
        case list():
            return f"a list of {len(cast('list[object]', value))}"
        case _:
            return f"{_cut(written or str(value))} (a {type(value).__name__})"


def _hint(kind: str, value: object, allowed: str) -> str:
    if kind == "string_type" and type(value) not in (dict, list, type(None)):
        return "put it in quotes"
    if kind in ("int_type", "bool_type") and isinstance(value, str):
        return "without quotes" if value.strip("+-").isdigit() or value in ("true", "false") else ""
    if kind == "literal_error" and isinstance(value, str):
        return did_you_mean(value, allowed.split(", "))
    return ""


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
