"""`helm uninstall` leaves what shall stay, and does not hang even if the operator was removed before."""

import pytest
from clusterkit.kubectl import eventually
from clusterkit.release import Release
from clusterkit.report import Report
from resources import KINDS, route

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
_LEFT = (
    "pods,daemonsets,deployments,statefulsets,jobs,services,secrets,configmaps,serviceaccounts,roles,rolebindings,leases,pdb,"
    "networkpolicies,persistentvolumeclaims"
)


def test_an_uninstall_without_the_operator_leaves_only_what_was_to_stay(
    release: Release, report: Report
) -> None:
    kubectl = release.kubectl
    kubectl.apply(route("kept", ("builtin:echo", 1)))
    kubectl.run("delete", "deployment", f"{release.name}-operator", "--wait")
    kubectl.ask("delete", "daemonset", "e2e-node", "--wait")
    release.uninstall()

    def left() -> list[str]:
        names = kubectl.run("get", _LEFT, "-o", "name").split()
        theirs = ("configmap/kube-root-ca.crt", "serviceaccount/default")
        return [name for name in names if name not in theirs]

    eventually(lambda: not left(), 120, "nothing of the release is left in its namespace")
    kept = kubectl.run("get", KINDS, "-o", "name").split()
    assert kept == ["botroute.sipgw.io/kept"], "the CRDs stay, and with them the documents"
    kubectl.run("delete", "botroute", "kept", "--timeout=10s")
    cluster_wide = kubectl.run("get", "clusterroles,clusterrolebindings", "-o", "name")
    assert release.kubectl.namespace not in cluster_wide
    report.add("uninstall, operator gone before", note="CRDs and documents stay, nothing else")
