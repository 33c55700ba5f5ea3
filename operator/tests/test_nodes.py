"""The operator reads from a node whether it takes relays."""

from typing import Any

import pytest

from sipgw.operator.resources.nodes import node_states, read_node, read_placing
from sipgw.operator.spread import NodeState, Together, together

Json = dict[str, Any]
READY = [{"type": "Ready", "status": "True"}]
TAINT = {"key": "dedicated", "value": "voice", "effect": "NoSchedule"}


def state(*, labels: Json | None = None, conditions: Any = READY, template: Json | None = None, **spec: Any):
    node = {"metadata": {"name": "n", "labels": labels}, "spec": spec, "status": {"conditions": conditions}}
    return node_states([read_node(node)], read_placing({"spec": template or {}}))["n"]


def test_a_zone_is_the_labels() -> None:
    assert state(labels={"topology.kubernetes.io/zone": "z"}) == NodeState("z")


@pytest.mark.parametrize(
    ("takes", "node"),
    [
        (True, {}),
        (False, {"unschedulable": True}),
        (False, {"conditions": [{"type": "Ready", "status": "Unknown"}]}),
        (False, {"conditions": None}),
        (False, {"template": {"nodeSelector": {"role": "media"}}}),
        (True, {"template": {"nodeSelector": {"role": "media"}}, "labels": {"role": "media", "x": "y"}}),
        (False, {"taints": [TAINT]}),
        (True, {"taints": [{**TAINT, "effect": "PreferNoSchedule"}]}),
        (True, {"taints": [TAINT], "template": {"tolerations": [{"operator": "Exists"}]}}),
        (True, {"taints": [TAINT], "template": {"tolerations": [TAINT]}}),
        (False, {"taints": [TAINT], "template": {"tolerations": [{**TAINT, "value": "other"}]}}),
        (False, {"taints": [TAINT], "template": {"tolerations": [{**TAINT, "effect": "NoExecute"}]}}),
    ],
)
def test_a_node_takes_relays_when_it_is_ready_and_the_template_may_go_there(takes: bool, node: Json) -> None:
    assert state(**node).takes_relays is takes


@pytest.mark.parametrize(
    ("places", "nodes", "found"),
    [
        ([], {"a": ""}, None),
        (["a"], {"a": ""}, None),
        (["a", ""], {"a": ""}, None),
        (["a", "a"], {}, Together("node", "a", has_elsewhere=False)),
        (["a", "a"], {"a": "", "b": ""}, Together("node", "a", has_elsewhere=True)),
        (["a", "b"], {"a": "", "b": ""}, None),
        (["a", "b"], {"a": "z", "b": "z"}, None),
        (["a", "b"], {"a": "z", "b": "z", "c": "y"}, Together("zone", "z", has_elsewhere=True)),
        (["a", "c"], {"a": "z", "b": "z", "c": "y"}, None),
    ],
)
def test_relays_share_one_fate_on_one_node_and_in_one_of_several_zones(
    places: list[str], nodes: dict[str, str], found: Together | None
) -> None:
    assert together(places, {name: NodeState(zone) for name, zone in nodes.items()}) == found
