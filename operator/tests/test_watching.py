"""The operator ignores events of its own writes and of nodes' heartbeats."""

from typing import Any

from sipgw.operator.handlers.watching import fingerprint

Json = dict[str, Any]


def test_a_document_is_news_by_its_generation_alone() -> None:
    before = {"kind": "BotRoute", "metadata": {"generation": 1, "resourceVersion": "5"}}
    status_written = {"kind": "BotRoute", "metadata": {"generation": 1, "resourceVersion": "6"}}
    changed = {"kind": "BotRoute", "metadata": {"generation": 2, "resourceVersion": "7"}}
    assert fingerprint(before) == fingerprint(status_written) != fingerprint(changed)


def test_a_secret_is_news_with_each_version() -> None:
    one, other = (
        {"kind": "Secret", "metadata": {"name": "n", "resourceVersion": version}} for version in "56"
    )
    assert fingerprint(one) != fingerprint(other)


def test_a_node_is_news_by_its_addresses_alone() -> None:
    def node(version: str, address: str) -> Json:
        status = {"addresses": [{"type": "InternalIP", "address": address}]}
        return {"kind": "Node", "metadata": {"name": "n", "resourceVersion": version}, "status": status}

    assert fingerprint(node("1", "10.0.0.1")) == fingerprint(node("2", "10.0.0.1"))
    assert fingerprint(node("1", "10.0.0.1")) != fingerprint(node("2", "10.0.0.2"))
