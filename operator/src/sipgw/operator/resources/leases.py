"""The Lease that names the acting replica."""

from datetime import UTC, datetime

from sipgw.operator.lease import LEASE_S, LeaseRecord
from sipgw.operator.resources.json_parts import Json, part


def read_lease(body: Json) -> LeaseRecord:
    """Read the Lease; one without a holder has the holder ""."""
    spec = part(body, "spec")
    return LeaseRecord(
        holder=spec.get("holderIdentity") or "",
        duration_s=float(spec.get("leaseDurationSeconds") or LEASE_S),
        transitions=int(spec.get("leaseTransitions") or 0),
        version=body["metadata"]["resourceVersion"],
    )


def lease_manifest(
    name: str, holder: str, now: datetime, before: LeaseRecord | None, owners: list[Json]
) -> Json:
    """Return the Lease held by `holder` ("" for none), to create or to replace `before`."""
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    changes_hands = before is not None and before.holder != holder
    metadata: Json = {"name": name, "ownerReferences": owners}
    if before is not None:
        metadata["resourceVersion"] = before.version
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(LEASE_S),
            "renewTime": stamp,
            "acquireTime": stamp,
            "leaseTransitions": (before.transitions if before else 0) + int(changes_hands and bool(holder)),
        },
    }
