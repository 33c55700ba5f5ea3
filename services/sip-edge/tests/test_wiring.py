"""How the parts of the edge are put together: read from the source, nothing is run."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

EDGE = Path(__file__).parents[1] / "src/sipgw/sip_edge"
REGISTRY = Path(__file__).parents[2] / "registry/src/sipgw/registry"
MOST_ARGUMENTS = 6
MESSAGES = {"record", "leg", "anchor"}
"""Names of protobuf messages that are being built; `record` alone changes those that are saved."""


def modules(folder: Path) -> dict[str, ast.Module]:
    return {str(path.relative_to(folder)): ast.parse(path.read_text()) for path in folder.rglob("*.py")}


def classes(tree: ast.AST) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def dataclass_of(one: ast.ClassDef) -> str:
    """The decorator, if the class is a dataclass."""
    return next((text for text in map(ast.unparse, one.decorator_list) if text.startswith("dataclass")), "")


def fields(one: ast.ClassDef) -> list[str]:
    targets = (node.target for node in one.body if isinstance(node, ast.AnnAssign))
    return [target.id for target in targets if isinstance(target, ast.Name)]


def arguments(one: ast.ClassDef) -> int:
    """How many arguments the constructor takes besides self."""
    for node in one.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            taken = node.args
            return len([*taken.posonlyargs, *taken.args, *taken.kwonlyargs]) - 1
    return 0


def assigned(tree: ast.AST) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets):
                pass
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                targets = [target]
            case _:
                continue
        flat = [one for target in targets for one in getattr(target, "elts", [target])]
        yield from (one for one in flat if isinstance(one, ast.Attribute))


def is_own(one: ast.Attribute) -> bool:
    return ast.unparse(one.value) == "self"


@pytest.mark.parametrize("folder", [EDGE, REGISTRY], ids=["edge", "registry"])
def test_no_constructor_takes_more_than_six_arguments(folder: Path) -> None:
    found = [one for tree in modules(folder).values() for one in classes(tree)]
    assert any(arguments(one) for one in found)
    assert not [one.name for one in found if arguments(one) > MOST_ARGUMENTS]


def test_no_bundle_holds_more_than_six_parts() -> None:
    trees = modules(EDGE)
    made = {ast.unparse(node.func) for node in ast.walk(trees["wiring.py"]) if isinstance(node, ast.Call)}
    bundles = [
        one for tree in trees.values() for one in classes(tree) if dataclass_of(one) and one.name in made
    ]
    assert {"Process", "Signalling", "MediaPlane", "ServedCalls"} <= {one.name for one in bundles}
    assert not [one.name for one in bundles if len(fields(one)) > MOST_ARGUMENTS]


def test_nothing_is_assigned_to_another_object() -> None:
    """Each object is whole when it is made, and changes by its own methods alone."""
    trees = modules(EDGE)
    owned = {one.attr for tree in trees.values() for one in assigned(tree) if is_own(one)}
    for one in (one for tree in trees.values() for one in classes(tree)):
        if dataclass_of(one) and "frozen" not in dataclass_of(one) and not one.name.startswith("_"):
            owned |= set(fields(one))
    assert {"timer", "is_moving", "_on_lost"} <= owned
    assert not [
        f"{name}: {ast.unparse(one)}"
        for name, tree in trees.items()
        if not name.startswith("record/")
        for one in assigned(tree)
        if not is_own(one) and one.attr in owned and ast.unparse(one.value).partition(".")[0] not in MESSAGES
    ]
