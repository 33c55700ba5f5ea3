"""Only named functions of the record's own modules change a call's record."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

import pytest

import sipgw.sip_edge

ROOT: Final = Path(sipgw.sip_edge.__path__[0])
CHANGING: Final = frozenset(
    {"append", "add", "clear", "extend", "insert", "pop", "remove", "update"}
    | {"Clear", "ClearField", "CopyFrom", "MergeFrom", "MergeFromString", "ParseFromString", "SetInParent"}
)
"""Methods of messages and of their repeated fields and maps."""
RECORDS: Final = frozenset({"draft", "record", "saved", "leg"})
"""A variable with such a name counts as a record or a part of one, unless the function makes it itself."""
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Found: TypeAlias = tuple[str, int]


class Changes(ast.NodeVisitor):
    """Finds the places where a function changes a record that it, or an enclosing function, was given."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._records: set[str] = set()
        self.found: list[Found] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._enter(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._enter(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._enter(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self._bind(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if node.value is not None:
            self._bind(node.target, node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.generic_visit(node)
        self._bind(node.target, node.value)

    def visit_For(self, node: ast.For) -> None:
        self._bind(node.target, node.iter)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.generic_visit(node)
        self._bind(node.target, node.value)

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self._bind(target, target)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        match node.func:
            case ast.Attribute(attr=attr, value=value) if attr in CHANGING and self._is_record(value):
                self._note(node)
            case ast.Name(id="setattr") if self._is_record(node.args[0]):
                self._note(node)
            case _:
                pass

    def _enter(self, node: Function) -> None:
        around = set(self._records)
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for one in arguments:
            annotation = ast.unparse(one.annotation) if one.annotation is not None else ""
            if one.arg in RECORDS or "calls." in annotation:
                self._records.add(one.arg)
            else:
                self._records.discard(one.arg)
        self.generic_visit(node)
        self._records = around

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        match target:
            case ast.Name(id=name):
                is_record = self._is_record(value) or (name in RECORDS and not _makes_message(value))
                (self._records.add if is_record else self._records.discard)(name)
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                values = value.elts if isinstance(value, ast.Tuple) else [value] * len(targets)
                for one, its in zip(targets, values, strict=False):
                    self._bind(one, its)
            case ast.Attribute(value=owner) | ast.Subscript(value=owner) if self._is_record(owner):
                self._note(target)
            case _:
                pass

    def _is_record(self, node: ast.expr) -> bool:
        """Whether an expression leads into a record, as `draft.legs[0].dialog` does."""
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        return isinstance(node, ast.Name) and node.id in self._records

    def _note(self, node: ast.expr) -> None:
        self.found.append((self._path, node.lineno))


def _makes_message(value: ast.expr) -> bool:
    """`calls.CallSession(...)` makes a record, `record.legs.add(...)` a part of one that was made."""
    return isinstance(value, ast.Call) and ast.unparse(value.func).startswith(("calls.", "record.legs.add"))


def changes_in(source: str, path: str = "") -> list[Found]:
    visitor = Changes(path)
    visitor.visit(ast.parse(source))
    return visitor.found


def sources() -> Iterator[Path]:
    return (path for path in ROOT.rglob("*.py") if path.parent.name != "record")


def test_no_module_but_the_records_own_changes_a_record() -> None:
    found = [one for path in sources() for one in changes_in(path.read_text(), str(path.relative_to(ROOT)))]
    assert not found, "name this change in sip_edge/record, and test it in test_record_transitions.py"


@pytest.mark.parametrize("path", sorted((ROOT / "record").glob("*.py")), ids=lambda path: path.stem)
def test_the_records_own_modules_change_it_in_functions_that_take_a_draft(path: Path) -> None:
    """The table of transitions takes the functions of a module whose first argument is called `draft`."""
    functions = [one for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, Function)]
    changing = [one for one in functions if changes_in(ast.unparse(one))]
    arguments = [next(each.arg for each in one.args.args if each.arg != "self") for one in changing]
    assert set(arguments) <= {"draft"}
    nested = [
        one
        for outer in functions
        for one in ast.walk(outer)
        if isinstance(one, Function) and one is not outer
    ]
    assert not set(nested) & set(changing)


@pytest.mark.parametrize(
    "source",
    [
        "def change(draft): draft.state = 1",
        "def f():\n def change(draft):\n  draft.state = 1",
        "def f():\n def change(it: calls.CallSession) -> bool:\n  it.media.Clear()",
        "def f():\n def change(draft):\n  leg = draft.legs[0]\n  leg.dialog.local_cseq += 1",
        "def f(record):\n def g():\n  record.move.avoid.append(1)",
        "lambda draft: draft.media.CopyFrom(anchor)",
        "lambda draft: setattr(draft, 'state', 1)",
        "async def f(self):\n record = await self._records.load(1)\n record.state = 1",
        "def f(draft):\n bot, leg = draft.bot, draft.legs[0]\n bot.ready, leg.on_hold = True, False",
        "def note(binding: calls.BotBinding): binding.ready = True",
        "def f(draft):\n for leg in draft.legs:\n  leg.on_hold = True",
        "def f(draft):\n del draft.legs[0]",
        "def f(draft):\n draft.bot.sip_headers['a'] = 'b'",
    ],
)
def test_the_check_finds_a_change(source: str) -> None:
    assert changes_in(source)


@pytest.mark.parametrize(
    "source",
    [
        "def f(): update(lambda draft: moving.place(draft, placement))",
        "def f():\n record = calls.CallSession()\n record.state = 1",
        "def f(record):\n anchor = calls.MediaAnchor()\n anchor.CopyFrom(record.media)",
        "def f(record): self._ending_since[record.call_id] = record.deadline_ms",
    ],
)
def test_the_check_lets_pass_what_changes_no_record(source: str) -> None:
    assert not changes_in(source)
