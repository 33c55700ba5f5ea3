"""By the source of each process, every counter is exported at /metrics and every instrument is used."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROCESSES = {
    "edge": ROOT / "services/sip-edge/src/sipgw/sip_edge",
    "relay": ROOT / "services/media-relay/src/sipgw/media_relay",
    "registry": ROOT / "services/registry/src/sipgw/registry",
    "operator": ROOT / "operator/src/sipgw/operator",
}
INSTRUMENTS = {"relay": "instruments.py"}  # other processes have them in metrics.py
NOT_SHOWN = {
    ("edge", "tries"): "of one rescue: it sets the pause before the next",
    ("relay", "dropped_audio"): "a trunk's, from which audio_dropped_unacked is summed",
    ("relay", "items"): "what is owed as an ack",
}

Sources = dict[Path, ast.Module]


def sources(process: str) -> Sources:
    """Return the source files of a process, without the kits for tests."""
    folder = PROCESSES[process]
    paths = (path for path in folder.rglob("*.py") if "testing" not in path.relative_to(folder).as_posix())
    return {path: ast.parse(path.read_text()) for path in paths}


def attributes(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def zeroes(function: ast.AST) -> Iterator[str]:
    """Find public attributes that begin at 0, set in a class's body or by its methods."""
    for node in ast.walk(function):
        match node:
            case (
                ast.Assign(targets=[ast.Attribute(attr=name)], value=ast.Constant(value=0))
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=0))
                | ast.AnnAssign(target=ast.Attribute(attr=name), value=ast.Constant(value=0))
            ) if not name.startswith("_") and not name.endswith(("_s", "_ms")):  # a time is no count
                yield name
            case _:
                pass


def counters(trees: Sources) -> set[str]:
    """Find attributes that begin at 0 and are only added to."""
    begin = {name for tree in trees.values() for name in zeroes(tree)}
    changes: dict[type[ast.operator], set[str]] = {ast.Add: set(), ast.Sub: set()}
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Attribute):
                changes.setdefault(type(node.op), set()).add(node.target.attr)
    return begin & changes[ast.Add] - changes[ast.Sub]


@pytest.mark.parametrize("process", PROCESSES)
def test_what_is_counted_is_shown(process: str) -> None:
    trees = sources(process)
    shown = attributes(trees[PROCESSES[process] / "metrics.py"])
    hidden = counters(trees) - shown - {name for of, name in NOT_SHOWN if of == process}
    assert not hidden, f"counted and in no metric: show it in metrics.py or delete it: {hidden}"


def test_the_relays_counters_are_found() -> None:
    found = counters(sources("relay"))
    assert {"audio_malformed", "strange", "missed", "dropped"} <= found
    assert {name for of, name in NOT_SHOWN if of == "relay"} <= found


@pytest.mark.parametrize("process", PROCESSES)
def test_every_instrument_is_moved(process: str) -> None:
    trees = sources(process)
    instruments = trees.pop(PROCESSES[process] / INSTRUMENTS.get(process, "metrics.py"))
    made = {
        node.targets[0].id
        for node in instruments.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Call)
    }
    assert made
    assert not made - {name for tree in trees.values() for name in attributes(tree)}
