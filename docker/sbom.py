"""sbom.py TARGET, with $VERSION: writes the bill of materials (CycloneDX 1.5) of what is really in the image.

Python packages come from their metadata, system packages from dpkg's records; runs as the image is built.
"""

import hashlib
import json
import os
import re
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

OUT = Path("/usr/share/sipgw/sbom.cdx.json")
_STATUS = Path("/var/lib/dpkg/status")
_SITE = [str(path) for path in Path("/opt/sipgw/lib").glob("python3.*/site-packages")]
Component = dict[str, object]


def python_component(found: Distribution) -> Component:
    name, version = found.metadata["Name"], found.version
    component = {"type": "library", "name": name, "version": version}
    bare = re.sub(r"[-_.]+", "-", name).lower()
    licence = found.metadata.get("License-Expression") or found.metadata.get("License") or ""
    if licence and "\n" not in licence:
        component["licenses"] = [{"license": {"name": licence}}]
    record = found.read_text("RECORD")
    if record:  # the digests of all its files, as one
        component["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(record.encode()).hexdigest()}]
    return component | {"purl": f"pkg:pypi/{bare}@{version}", "bom-ref": f"pypi/{bare}"}


def debian_components(status: str) -> list[Component]:
    found: list[Component] = []
    for record in status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", record, re.MULTILINE))
        if "Package" not in fields or "installed" not in fields.get("Status", ""):
            continue
        name, version, arch = fields["Package"], fields["Version"], fields["Architecture"]
        purl = f"pkg:deb/debian/{name}@{version}?arch={arch}"
        found.append(
            {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": f"deb/{name}"}
        )
    return found


def main() -> None:
    target, version = sys.argv[1], os.environ["VERSION"]
    components = [python_component(found) for found in distributions(path=_SITE)] if target != "redis" else []
    if _STATUS.exists():
        components += debian_components(_STATUS.read_text())
    components.sort(key=lambda component: str(component["bom-ref"]))
    subject = {"type": "container", "name": f"sipgw/{target}", "version": version}
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": subject}}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(bill | {"components": components}, indent=1) + "\n")


main()
