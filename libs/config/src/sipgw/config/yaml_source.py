"""YAML documents as plain values that remember the place of each part in the text.

Duplicate keys, tags, and documents that expand without end (aliases of aliases) are errors. Scalars are read
as YAML 1.1, as Kubernetes does; the text as written is kept for messages, since 0049 reads as 41.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import yaml

from sipgw.config.errors import ConfigError, ConfigProblem

_MAX_NODES = 50_000
_MAX_DEPTH = 24
_MAX_TEXT = 1_000_000

Path = tuple[str | int, ...]


@dataclass(slots=True)
class LocatedDocument:
    """One document: plain dicts, lists and scalars, with line (from 1) and text as written by path."""

    file: str
    value: Any
    lines: dict[Path, int] = field(default_factory=dict)
    written: dict[Path, str] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)

    def line_of(self, path: Path) -> int:
        """Return the line of a path, or of the nearest part around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


def read_documents(text: str, file: str) -> Iterator[LocatedDocument]:
    """Yield the documents of a text, without the empty ones. Raises ConfigError for invalid YAML."""
    if len(text) > _MAX_TEXT:
        raise ConfigError([ConfigProblem(file, 0, "", f"{len(text)} characters", f"at most {_MAX_TEXT}")])
    try:
        nodes: list[yaml.Node | None] = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ConfigError([_syntax_problem(error, file)]) from error
    except RecursionError as error:
        raise ConfigError(
            [ConfigProblem(file, 0, "", "endless nesting", f"a depth of {_MAX_DEPTH}")]
        ) from error
    for node in nodes:
        if node is not None:
            located = _Reader(file).read(node)
            if located.value is not None:
                yield located


class _Reader:
    def __init__(self, file: str) -> None:
        self._document = LocatedDocument(file, None)
        self._scalars = yaml.constructor.SafeConstructor()
        self._nodes = 0

    def read(self, node: yaml.Node) -> LocatedDocument:
        self._document.value = self._value(node, ())
        return self._document

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        if self._nodes > _MAX_NODES or len(path) > _MAX_DEPTH:
            problem = ConfigProblem(
                self._document.file,
                node.start_mark.line + 1,
                dotted(path[:4]),
                "a document that is too large",
                f"at most {_MAX_NODES} values, {_MAX_DEPTH} deep",
            )
            raise ConfigError([problem])
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                members = cast("list[yaml.Node]", node.value)
                return [self._value(member, (*path, index)) for index, member in enumerate(members)]
            case _:
                return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            if not isinstance(key, str) or not isinstance(key_node, yaml.ScalarNode):
                self._problem(line, path, "a key that is not text", "text as keys")
                continue
            here = (*path, key)
            if key in values:
                first = self._document.lines[here]
                self._problem(line, here, "the key a second time", f"each key once (first in line {first})")
                continue
            self._document.lines[here] = line
            values[key] = self._value(value_node, here)
        return values

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        self._document.written[path] = str(node.value)
        try:
            return self._scalars.construct_object(node)  # pyright: ignore[reportUnknownMemberType]
        except (yaml.YAMLError, ValueError, OverflowError):
            self._problem(node.start_mark.line + 1, path, f"{node.value!r} tagged {node.tag}", "plain values")
            return str(node.value)

    def _problem(self, line: int, path: Path, found: str, allowed: str) -> None:
        self._document.problems.append(ConfigProblem(self._document.file, line, dotted(path), found, allowed))


def dotted(path: Path) -> str:
    """Format a path: ``spec.bots[0].endpoint``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _syntax_problem(error: yaml.YAMLError, file: str) -> ConfigProblem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        found = " ".join(part for part in (error.context, error.problem) if part)
        return ConfigProblem(file, line, "", f"text that is not YAML: {found}", "YAML")
    return ConfigProblem(file, 0, "", f"text that is not YAML: {' '.join(str(error).split())}", "YAML")
