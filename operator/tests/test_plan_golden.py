"""The plan acts as the scenarios of golden/ say, which people review."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from sipgw.operator.fleet import GoneRelay, Memory, Observed, Plan, RelayState, SizingSpec
from sipgw.operator.plan import plan
from sipgw.operator.spread import NodeState

from .conftest import relay_name

STORIES = sorted((Path(__file__).parent / "golden").glob("*.yaml"))
Json = dict[str, Any]


def relay(number: int, text: str, lanes: int) -> RelayState:
    """Parse `used/capacity [N calls] [N ports] [draining] [full] [asked] [old] [at NODE]`."""
    text, _, node = text.partition(" at ")
    figures, *words = text.split()
    used, capacity = map(int, figures.split("/"))
    named = {unit: int(count) for count, unit in pairwise(words) if count.isdigit()}
    return RelayState(
        name=relay_name("gw", number, lanes),
        capacity_units=capacity,
        used_units=used,
        calls=named.get("calls", used),
        ports_free=named.get("ports", 10_000),
        is_draining="draining" in words,
        is_drain_requested="asked" in words,
        is_outdated="old" in words,
        node=node,
        is_full="full" in words,
    )


def node_state(text: str) -> NodeState:
    """Parse `ZONE [cordoned]`."""
    zone, *words = text.split()
    return NodeState(zone, takes_relays="cordoned" not in words)


def observed(step: Json, lanes: int) -> Observed:
    return Observed(
        replicas=tuple(step["replicas"]),
        relays={number: relay(number, text, lanes) for number, text in step["relays"].items()},
        gone={
            number: GoneRelay(text.removesuffix(" drained"), was_draining=text.endswith(" drained"))
            for number, text in step.get("gone", {}).items()
        },
        nodes={name: node_state(text) for name, text in step.get("nodes", {}).items()},
        setups_per_s=step.get("setups_per_s", 0.0),
        outdated_silent=frozenset(step.get("outdated_silent", [])),
        is_rolling=step.get("rolling", False),
    )


def told(made: Plan) -> Json:
    lists = {"drain": made.drain, "undrain": made.undrain, "restart": made.restart}
    return {"wanted": made.wanted, "replicas": list(made.replicas)} | {
        name: list(names) for name, names in lists.items() if names
    }


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_story_goes_as_written(path: Path) -> None:
    story = yaml.safe_load(path.read_text())
    spec, memory = SizingSpec(**story["spec"]), Memory()
    for step in story["steps"]:
        made, memory = plan(spec, observed(step, spec.lanes), memory, float(step["at"]))
        expected = {name: value for name, value in step["plan"].items() if value != []}
        assert told(made) == expected, f"at {step['at']}: {step.get('say', '')}"
