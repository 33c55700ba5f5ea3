"""A real apiserver accepts the CRDs and the documents of docs/, and refuses wrong ones at the wrong field.

The CRDs are tried under a group of the test's own, so that a release on the same cluster keeps its own.
"""

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from clusterkit.kubectl import Kubectl, eventually

from sipgw.config.status import BotRouteStatus, Condition, RelayCounts, SipGatewayStatus, SipTrunkStatus

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
CRDS = sorted((ROOT / "charts" / "sipgw" / "files" / "crds").glob("*.yaml"))
REAL_GROUP = "sipgw.io"


class Cluster:
    """kubectl, with our kinds under another group."""

    def __init__(self, kubectl: Kubectl, group: str) -> None:
        self.kubectl, self.group = kubectl, group

    def text(self, text: str) -> str:
        return text.replace(REAL_GROUP, self.group)

    def apply(self, document: dict[str, Any], *options: str) -> str:
        """Apply a document; return kubectl's error, "" when there is none."""
        text = self.text(json.dumps(document))
        answer = self.kubectl.ask("apply", *options, "-f", "-", text=text)
        return answer.error if answer.status else ""

    def get(self, *arguments: str) -> str:
        return self.kubectl.run("get", *arguments)


@pytest.fixture(scope="module")
def cluster(kubectl: Kubectl) -> Iterator[Cluster]:
    cluster = Cluster(kubectl, f"t{uuid.uuid4().hex[:8]}.{REAL_GROUP}")
    names = [f"{path.stem}.{cluster.group}" for path in CRDS]
    for path in CRDS:
        kubectl.run("apply", "--server-side", "-f", "-", text=cluster.text(path.read_text("utf-8")))
    eventually(lambda: all(kubectl.ask("get", name).status == 0 for name in names), 20, "they are served")
    yield cluster
    kubectl.run("delete", "crd", *names, "--wait=false")


def document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": f"{REAL_GROUP}/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def route(**more: Any) -> dict[str, Any]:
    return document("BotRoute", "a", {"bots": [{"endpoint": "bot:9090"}], **more})


def trunk(**spec: Any) -> dict[str, Any]:
    return document("SipTrunk", "a", spec)


def gateway(**spec: Any) -> dict[str, Any]:
    return document("SipGateway", "a", spec)


def digest(username: str = "alice") -> dict[str, Any]:
    return {"digest": {"username": username, "secretRef": {"name": "pbx"}}}


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
def test_the_crds_are_accepted_as_they_are(kubectl: Kubectl, path: Path):
    said = kubectl.run("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", str(path))
    assert "serverside-applied" in said


def samples() -> list[tuple[str, dict[str, Any]]]:
    """Collect every document of our kinds in docs/ and README.md."""
    blocks = [
        (path.name, block)
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
        for block in re.findall(r"```ya?ml\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
        if f"apiVersion: {REAL_GROUP}" in block
    ]
    return [
        (f"{file}-{one['kind']}-{one['metadata']['name']}", one)
        for file, block in blocks
        for one in yaml.safe_load_all(block)
        if one["apiVersion"].startswith(REAL_GROUP)
    ]


@pytest.mark.parametrize("sample", [one for _, one in samples()], ids=[name for name, _ in samples()])
def test_the_documents_of_docs_are_accepted(cluster: Cluster, sample: dict[str, Any]):
    assert cluster.apply(sample, "--dry-run=server") == ""


WRONG = [
    (route(anser="immediate"), 'unknown field "spec.anser"'),
    (route(answer="bot_ready"), "spec.answer: Unsupported value"),
    (route(priority="high"), "spec.priority: Invalid value"),
    (route(bots=[]), "spec.bots: Invalid value"),
    (document("BotRoute", "a", {}), "spec.bots: Required value"),
    ({key: value for key, value in route().items() if key != "spec"}, "spec: Required value"),
    (
        route(bots=[{"endpoint": "bot:9090", "weight": 0}]),
        "spec: Invalid value: allowed: a bot with a weight",
    ),
    (route(bots=[{"endpoint": "bot:9090", "weight": 1001}]), "spec.bots[0].weight: Invalid value"),
    (route(bots=[{"endpoint": "bot:70000"}]), "spec.bots[0].endpoint: Invalid value"),
    (route(bots=[{"endpoint": "bot:0"}]), "spec.bots[0].endpoint: Invalid value"),
    (route(bots=[{"endpoint": "http://bot"}]), "spec.bots[0].endpoint: Invalid value"),
    (route(match={"to": {}}), "spec.match.to: Invalid value: allowed: exactly one of exact, prefix, regex"),
    (
        route(match={"to": {"exact": "1", "prefix": "2"}}),
        "spec.match.to: Invalid value: allowed: exactly one",
    ),
    (route(match={"from": {"exact": ""}}), "spec.match.from.exact: Invalid value"),
    (route(match={"trunks": ["A"]}), "spec.match.trunks[0]: Invalid value"),
    (route(match={"headers": [{"name": "X B", "value": {"exact": "1"}}]}), "spec.match.headers[0].name"),
    (route(match={"headers": [{"name": "X-B", "value": {}}]}), "spec.match.headers[0].value: Invalid value"),
    (route(audio={"codec": "PCMU", "rateHz": 16000}), "spec.audio: Invalid value: allowed: PCMU and PCMA at"),
    (route(audio={"codec": "PCM16", "rateHz": 11025}), "spec.audio.rateHz: Unsupported value"),
    (route(fallback={"status": 486}), "spec.fallback.status: Unsupported value"),
    (route(fallback={"bots": [{"endpoint": "b:1", "weight": 0}]}), "spec.fallback: Invalid value: allowed"),
    (route(limits={"maxCalls": -1}), "spec.limits.maxCalls: Invalid value"),
    (trunk(sourceCidrs=["203.0.113.5/24"]), "spec.sourceCidrs[0]: Invalid value: allowed: an address or a"),
    (trunk(sourceCidrs=["::1", "host"]), "spec.sourceCidrs[1]: Invalid value"),
    (trunk(sourceCidrs=["::1"], auth=digest()), "spec: Invalid value: allowed: one way of authentication"),
    (trunk(auth={}), "spec.auth.digest: Required value"),
    (trunk(auth={"digest": {"username": "alice"}}), "spec.auth.digest.secretRef: Required value"),
    (trunk(auth=digest("a:b")), "spec.auth.digest.username: Invalid value"),
    (document("SipTrunk", "a" * 64, {}), "metadata.name: Too long"),
    (document("SipTrunk", "a.b", {}), "metadata.name: Invalid value"),
    (gateway(rtp={"firstPort": 30000}), "spec.rtp: Invalid value: allowed: a lastPort above firstPort"),
    (gateway(sip={"port": 0}), "spec.sip.port: Invalid value"),
    (gateway(audio={"codecs": ["PCMU", "PCMU"]}), "spec.audio.codecs[1]: Duplicate value"),
    (gateway(audio={"codecs": ["OPUS"]}), "spec.audio.codecs[0]: Unsupported value"),
    (gateway(advertise={"nodes": {"n1": "somewhere"}}), "spec.advertise.nodes[n1]: Invalid value"),
    (gateway(advertise={"nodes": {"n" * 254: "::1"}}), "spec.advertise.nodes: Invalid value"),
    (gateway(advertise={"address": "host"}), "spec.advertise.address: Invalid value: allowed: an IP"),
    (gateway(advertise={"policy": "PodIP"}), "spec.advertise.policy: Unsupported value"),
    (gateway(autoscaling={"maxRelays": 1}), "spec.autoscaling: Invalid value: allowed: a maxRelays"),
    (gateway(autoscaling={"targetUtilizationPercent": 100}), "spec.autoscaling.targetUtilizationPercent"),
    (gateway(drain={"deadlineSeconds": 601}), "spec.drain: Invalid value: allowed: graceSeconds"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_wrong_document_is_refused_at_the_field(cluster: Cluster, wrong: dict[str, Any], said: str):
    answer = cluster.apply(wrong, "--dry-run=server")
    assert said in re.sub(r'Invalid value: "[^"]*": ', "Invalid value: ", answer)


def test_what_is_not_given_has_the_defaults(cluster: Cluster):
    assert cluster.apply(document("BotRoute", "defaults", {"bots": [{"endpoint": "bot:9090"}]})) == ""
    spec = json.loads(cluster.get(f"botroutes.{cluster.group}", "defaults", "-o", "json"))["spec"]
    assert spec["answer"] == "bot-ready"
    assert spec["limits"]["botReadyTimeoutMs"] == 5000
    assert spec["bots"] == [{"endpoint": "bot:9090", "weight": 1, "tls": False}]


def test_an_edit_never_opens_a_trunk_to_everybody(cluster: Cluster):
    name = "carrier"
    assert cluster.apply(document("SipTrunk", name, {"sourceCidrs": ["203.0.113.0/24"]})) == ""
    assert "allowed: sourceCidrs or auth, since" in cluster.apply(document("SipTrunk", name, {}))
    assert "allowed: sourceCidrs or auth" in cluster.apply(document("SipTrunk", name, {"sourceCidrs": []}))
    assert cluster.apply(document("SipTrunk", name, {"sourceCidrs": [], "auth": digest()})) == ""
    assert cluster.apply(document("SipTrunk", "lab", {})) == ""
    assert cluster.apply(document("SipTrunk", "lab", {"sourceCidrs": ["::1"]})) == ""


def conditions() -> list[Condition]:
    return [
        Condition(
            type=type_,
            status="True",
            reason="AsItShouldBe",
            observed_generation=1,
            last_transition_time="2026-11-25T00:00:00Z",
        )
        for type_ in ("Accepted", "Programmed", "Ready")
    ]


STATUSES = [
    (
        document("BotRoute", "seen", {"bots": [{"endpoint": "bot:9090"}]}),
        BotRouteStatus(conditions=conditions(), match="to +49*", bot="bot:9090", calls_now=7),
        ["seen", "to +49*", "bot:9090", "True", "7"],
    ),
    (
        document("SipTrunk", "seen", {"sourceCidrs": ["::1"]}),
        SipTrunkStatus(conditions=conditions(), auth="::1", calls_now=3),
        ["seen", "::1", "True", "3"],
    ),
    (
        document("SipGateway", "seen", {}),
        SipGatewayStatus(
            conditions=conditions(), relays=RelayCounts(wanted=4, ready=3, draining=1), calls=9, edges=2
        ),
        ["seen", "3", "4", "2", "9", "True"],
    ),
]


@pytest.mark.parametrize(("one", "status", "row"), STATUSES, ids=[one["kind"] for one, *_ in STATUSES])
def test_kubectl_get_answers(cluster: Cluster, one: dict[str, Any], status: SipTrunkStatus, row: list[str]):
    assert cluster.apply(one) == ""
    resource = f"{one['kind'].lower()}s.{cluster.group}"
    patch = json.dumps({"status": status.model_dump(by_alias=True, exclude_none=True)})
    cluster.kubectl.run("patch", resource, "seen", "--subresource=status", "--type=merge", "-p", patch)
    (line,) = cluster.get(resource, "seen", "--no-headers").splitlines()
    columns = re.split(r"\s{2,}", line.strip())
    assert columns[:-1] == row


def test_a_status_without_a_reason_is_refused(cluster: Cluster):
    assert cluster.apply(document("SipTrunk", "status", {"sourceCidrs": ["::1"]})) == ""
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-25T00:00:00Z"}
    patch = json.dumps({"status": {"conditions": [condition]}})
    resource = f"siptrunks.{cluster.group}"
    answer = cluster.kubectl.ask(
        "patch", resource, "status", "--subresource=status", "--type=merge", "-p", patch
    )
    assert "status.conditions[0].reason: Required value" in answer.error


def test_one_word_lists_all_kinds(cluster: Cluster):
    listed = cluster.get("crd", "-o", "json")
    categories = {
        one["metadata"]["name"]: one["status"]["acceptedNames"].get("categories", [])
        for one in json.loads(listed)["items"]
        if one["spec"]["group"] == cluster.group
    }
    assert len(categories) == 3
    assert all(words == ["sipgw"] for words in categories.values())
