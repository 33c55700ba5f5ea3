"""Every rendering keeps the rules for replicas, ports and rights."""

import itertools
from typing import Any

import pytest
from golden import CASES
from rendering import CHART, Manifest, flags, named, of_kind, pod_templates, render

PROBES = {"startupProbe": "liveness", "livenessProbe": "liveness", "readinessProbe": "readiness"}
CLUSTER_SCOPED = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}


@pytest.fixture(scope="module", params=CASES)
def rendering(request: pytest.FixtureRequest) -> list[Manifest]:
    return render("--values", str(CHART / "ci" / f"{request.param}-values.yaml"))


@pytest.fixture(scope="module")
def default() -> list[Manifest]:
    return render()


def _rights(roles: list[Manifest]) -> dict[str, str]:
    """Return the verbs, in order, by group, resource and the resource's name if the rule gives one."""
    found: dict[str, str] = {}
    for rule in itertools.chain.from_iterable(role["rules"] for role in roles):
        for group, resource in itertools.product(rule["apiGroups"], rule["resources"]):
            words = [f"{group}/{resource}".lstrip("/"), *rule.get("resourceNames", [])]
            found[" ".join(words)] = " ".join(sorted(rule["verbs"]))
    return found


def _relays(manifests: list[Manifest]) -> list[Manifest]:
    return [m for m in of_kind(manifests, "StatefulSet") if "sipgw.io/lane" in m["metadata"]["labels"]]


def test_helm_never_says_how_many_relays(rendering: list[Manifest]) -> None:
    assert _relays(rendering)
    assert all("replicas" not in relay["spec"] for relay in _relays(rendering))


def test_no_custom_resource_is_rendered(rendering: list[Manifest]) -> None:
    assert not [m for m in rendering if m["apiVersion"].startswith("sipgw.io/")]


def test_no_two_pods_of_a_node_want_one_host_port(rendering: list[Manifest]) -> None:
    wanted: list[int] = []
    for template in pod_templates(rendering).values():
        for container in template["spec"]["containers"]:
            wanted += [port["hostPort"] for port in container.get("ports", []) if "hostPort" in port]
    assert len(wanted) == len(set(wanted))


def test_the_lanes_rtp_ports_meet_neither_each_other_nor_other_ports(rendering: list[Manifest]) -> None:
    ranges = [
        tuple(map(int, flags(relay["spec"]["template"])["--rtp-ports"].split("-")))
        for relay in _relays(rendering)
    ]
    for (_, last), (first, _) in itertools.pairwise(sorted(ranges)):
        assert last < first
    assert max(last for _, last in ranges) < 30000


def test_every_container_is_as_restricted_as_the_host_network_allows(rendering: list[Manifest]) -> None:
    for name, template in pod_templates(rendering).items():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"], name
            assert not context["allowPrivilegeEscalation"], name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["limits"]["memory"], name
        assert not any("hostPath" in volume for volume in spec.get("volumes", [])), name


def test_only_the_operator_gets_a_token(rendering: list[Manifest]) -> None:
    for name, template in pod_templates(rendering).items():
        assert template["spec"]["automountServiceAccountToken"] is name.endswith("-operator"), name


def test_the_operator_has_these_rights_and_no_other(default: list[Manifest]) -> None:
    """operator/tests/test_rights.py shows that the operator's requests and kopf's watches need them all."""
    kinds = ("sipgateways", "siptrunks", "botroutes")
    assert _rights(of_kind(default, "Role")) == {
        **{f"sipgw.io/{kind}": "list watch" for kind in kinds},
        **{f"sipgw.io/{kind}/status": "patch" for kind in kinds},
        "secrets": "create get list patch watch",
        "events": "create patch",
        "serviceaccounts sipgw-operator": "get",
        "pods": "list",
        "pods/eviction": "create",
        "apps/statefulsets": "list",
        "apps/statefulsets sipgw-redis": "get patch",
        "apps/deployments": "list",
        "apps/daemonsets": "list",
        "apps/statefulsets/scale": "patch",
        "coordination.k8s.io/leases": "create get update",
    }
    assert _rights(of_kind(default, "ClusterRole")) == {"nodes": "list watch"}


def test_nobody_but_the_operator_has_rights_and_none_on_nodes_that_it_need_not_read(
    rendering: list[Manifest],
) -> None:
    for binding in of_kind(rendering, "RoleBinding", "ClusterRoleBinding"):
        (subject,) = binding["subjects"]
        assert subject["name"].endswith("-operator")
    assert not of_kind(render("--set", "operator.readNodes=false"), "ClusterRole", "ClusterRoleBinding")
    without = render("--values", str(CHART / "ci" / "no-operator-values.yaml"))
    assert not of_kind(without, "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


def test_every_object_says_whose_it_is(rendering: list[Manifest]) -> None:
    for manifest in rendering:
        labels: dict[str, str] = manifest["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "sipgw"
        assert "namespace" not in manifest["metadata"] or manifest["kind"] not in CLUSTER_SCOPED


def test_pods_are_probed_by_grpc_on_the_port_that_they_were_told(rendering: list[Manifest]) -> None:
    for name, template in pod_templates(rendering).items():
        if name.endswith(("-redis", "-test-call")):
            continue
        container = template["spec"]["containers"][0]
        health = int(flags(template)["--health"].rpartition(":")[2])
        for probe, question in PROBES.items():
            assert container[probe]["grpc"] == {"port": health, "service": question}, name


def _edges(manifests: list[Manifest]) -> Manifest:
    (edges,) = [
        m for m in of_kind(manifests, "DaemonSet", "Deployment") if m["metadata"]["name"] == "sipgw-edge"
    ]
    return edges


def _budgets(manifests: list[Manifest]) -> set[str]:
    return {m["metadata"]["name"].removeprefix("sipgw-") for m in of_kind(manifests, "PodDisruptionBudget")}


def test_edges_keep_to_their_nodes_unless_a_number_is_given(default: list[Manifest]) -> None:
    edges = _edges(default)
    assert edges["kind"] == "DaemonSet"
    assert "replicas" not in edges["spec"]
    assert edges["spec"]["updateStrategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert _budgets(default) == {"relay", "registry", "operator"}, "Kubernetes counts none for a DaemonSet"


@pytest.mark.parametrize(
    ("values", "replicas"),
    [
        ({"replicas": 3}, 3),
        ({"network": "service", "advertise": "192.0.2.1"}, 2),
        ({"network": "service", "advertise": "192.0.2.1", "replicas": 5}, 5),
    ],
)
def test_a_number_of_edges_or_a_balancer_makes_them_a_deployment(values: Manifest, replicas: int) -> None:
    manifests = render(values={"edge": values})
    edges = _edges(manifests)
    assert (edges["kind"], edges["spec"]["replicas"]) == ("Deployment", replicas)
    assert edges["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert "edge" in _budgets(manifests)


def test_a_relay_asks_for_the_core_that_it_uses(default: list[Manifest]) -> None:
    for relay in _relays(default):
        (container,) = relay["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["requests"]["cpu"] == "1"


def test_a_relay_has_time_to_drain(rendering: list[Manifest]) -> None:
    for relay in _relays(rendering):
        template = relay["spec"]["template"]
        assert float(flags(template)["--drain-seconds"]) < template["spec"]["terminationGracePeriodSeconds"]


def test_all_lanes_have_one_revision_that_follows_the_pod_template() -> None:
    def revisions(values: dict[str, Any]) -> set[str]:
        return {flags(relay["spec"]["template"])["--revision"] for relay in _relays(render(values=values))}

    (before,) = revisions({})
    (same,) = revisions({"edge": {"replicas": 3}, "redis": {"password": "x"}})
    (after,) = revisions({"relay": {"image": {"repository": "sipgw/relay", "tag": "2"}}})
    assert before == same != after


def test_the_operator_rolls_the_relays_and_helm_where_there_is_none(default: list[Manifest]) -> None:
    assert {relay["spec"]["updateStrategy"]["type"] for relay in _relays(default)} == {"OnDelete"}
    without = render("--values", str(CHART / "ci" / "no-operator-values.yaml"))
    assert {relay["spec"]["updateStrategy"]["type"] for relay in _relays(without)} == {"RollingUpdate"}


def test_crds_stay_after_an_uninstall_unless_told_otherwise(default: list[Manifest]) -> None:
    crds = of_kind(default, "CustomResourceDefinition")
    assert {crd["spec"]["names"]["kind"] for crd in crds} == {"SipGateway", "SipTrunk", "BotRoute"}
    assert all(crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for crd in crds)
    leaving = of_kind(render("--set", "crds.keep=false"), "CustomResourceDefinition")
    assert not any("helm.sh/resource-policy" in crd["metadata"].get("annotations", {}) for crd in leaving)
    assert not of_kind(render("--set", "crds.install=false"), "CustomResourceDefinition")


def test_policies_name_no_pod_of_the_host_network(default: list[Manifest]) -> None:
    """podSelectors do not match such pods: a rule for relays has to name addresses."""
    for policy in of_kind(default, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []) + policy["spec"].get("egress", []):
            for peer in rule.get("from", []) + rule.get("to", []):
                component = (
                    peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/component")
                )
                assert component not in {"relay", "edge"}, policy["metadata"]["name"]


def test_node_cidrs_narrow_who_reaches_the_registry() -> None:
    policy = named(
        render("--set", "networkPolicy.nodeCIDRs={10.0.0.0/16}"), "NetworkPolicy", "sipgw-registry"
    )
    (nodes, _) = policy["spec"]["ingress"]
    assert nodes["from"] == [{"ipBlock": {"cidr": "10.0.0.0/16"}}]


def _secret_of_redis(template: Manifest) -> set[str]:
    """Return the names of the Secrets from which a pod has Redis's URL or password."""
    variables = template["spec"]["containers"][0].get("env", [])
    asked = [one["valueFrom"]["secretKeyRef"] for one in variables if one["name"] == "REDISCLI_AUTH"]
    mounted = [volume["secret"] for volume in template["spec"].get("volumes", []) if "secret" in volume]
    keys = {"password", "password.conf", "url"}
    return {one["name"] for one in asked} | {
        one["secretName"] for one in mounted if {item["key"] for item in one.get("items", [])} & keys
    }


@pytest.mark.parametrize(
    ("values", "users"),
    [
        ({"passwordSecret": {"name": "mine"}}, {"sipgw-edge", "sipgw-registry", "sipgw-redis"}),
        ({"enabled": False, "urlSecret": {"name": "mine"}}, {"sipgw-edge", "sipgw-registry"}),
        (
            {"enabled": False, "url": "rediss://me@r:1/0", "passwordSecret": {"name": "mine"}},
            {"sipgw-edge", "sipgw-registry"},
        ),
    ],
)
def test_redis_is_reached_by_a_secret_that_is_there_already(values: Manifest, users: set[str]) -> None:
    made = render(values={"redis": values})
    by_pod = {name: _secret_of_redis(template) for name, template in pod_templates(made).items()}
    assert {name for name, secrets in by_pod.items() if secrets == {"mine"}} == users
    assert not any("sipgw-redis" in secrets for secrets in by_pod.values())
    assert not of_kind(made, "Secret")


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "redis://sipgw-redis.voice.svc:6379/0?password_file=FILE"),
        ({"passwordSecret": {"name": "mine"}}, "redis://sipgw-redis.voice.svc:6379/0?password_file=FILE"),
        ({"enabled": False, "url": "redis://h/0"}, "redis://h/0"),
        (
            {"enabled": False, "url": "redis://h/0", "passwordSecret": {"name": "mine"}},
            "redis://h/0?password_file=FILE",
        ),
        (
            {"enabled": False, "url": "redis://h/0?x=1", "passwordSecret": {"name": "mine"}},
            "redis://h/0?x=1&password_file=FILE",
        ),
        ({"enabled": False, "urlSecret": {"name": "mine"}}, "file:///etc/sipgw/redis-url/url"),
    ],
)
def test_the_url_of_redis_has_no_password_in_it(values: Manifest, url: str) -> None:
    file = "/etc/sipgw/redis-password/password"
    pods = pod_templates(render(values={"redis": values}))
    for name in ("sipgw-edge", "sipgw-registry"):
        (container,) = pods[name]["spec"]["containers"]
        (found,) = [one for one in container["env"] if one["name"] == "SIPGW_REDIS_URL"]
        assert found["value"] == url.replace("FILE", file)
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts.keys() == {volume["name"] for volume in pods[name]["spec"]["volumes"]}
        assert ("password_file" in url) == (mounts.get("redis-password") == "/etc/sipgw/redis-password")
        assert url.startswith("file:") == (mounts.get("redis-url") == "/etc/sipgw/redis-url")


def test_without_a_password_given_the_secret_is_empty_and_the_operators_to_fill(
    default: list[Manifest],
) -> None:
    (secret,) = of_kind(default, "Secret")
    assert secret["metadata"]["name"] == "sipgw-redis"
    assert secret.keys() == {"apiVersion", "kind", "metadata"}
    operator = pod_templates(default)["sipgw-operator"]
    assert flags(operator)["--redis-secret"] == "sipgw-redis"


def test_a_password_of_redis_is_never_an_argument(default: list[Manifest]) -> None:
    for template in pod_templates(default).values():
        container = template["spec"]["containers"][0]
        assert not any(
            "PASSWORD" in word for word in container.get("args", []) + container.get("command", [])
        )
