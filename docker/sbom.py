"""sbom.py TARGET, with $VERSION: write the bill of materials (CycloneDX 1.5) of all that is in the image.

Python packages come from their metadata, system packages from dpkg's records; runs as the image is built.
"""

import hashlib
import json
import os
import platform
import re
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

OUT = Path("/usr/share/sipgw/sbom.cdx.json")
_DPKG = Path("/var/lib/dpkg")
_SITE = [str(path) for path in Path("/opt/sipgw/lib").glob("python3.*/site-packages")]
Component = dict[str, object]


def package_component(found: Distribution) -> Component:
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


def python_components(prefix: str, version: str) -> list[Component]:
    """List the interpreter where it is not a Debian package: Python's own images build theirs."""
    if prefix == "/usr":
        return []
    names = {
        "purl": f"pkg:generic/python@{version}",
        "cpe": f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*",
    }
    return [{"type": "platform", "name": "python", "version": version, "bom-ref": "generic/python"} | names]


def debian_components(dpkg: Path) -> list[Component]:
    """List the packages of the base, and those added to it, whose own records name the version."""
    texts = [
        path.read_text() for path in (dpkg / "status", *sorted(dpkg.glob("status.d/*"))) if path.exists()
    ]
    found: dict[str, Component] = {}
    for record in "\n\n".join(texts).split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", record, re.MULTILINE))
        if "Package" not in fields or "installed" not in fields.get("Status", ""):
            continue
        name, version, arch = fields["Package"], fields["Version"], fields["Architecture"]
        purl = f"pkg:deb/debian/{name}@{version}?arch={arch}"
        component = {
            "type": "library",
            "name": name,
            "version": version,
            "purl": purl,
            "bom-ref": f"deb/{name}",
        }
        found[name] = component
    return list(found.values())


def main(target: str, version: str) -> None:
    components = [package_component(found) for found in distributions(path=_SITE)]
    components += python_components(sys.base_prefix, platform.python_version()) + debian_components(_DPKG)
    components.sort(key=lambda component: str(component["bom-ref"]))
    subject = {"type": "container", "name": f"sipgw/{target}", "version": version}
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": subject}}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(bill | {"components": components}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], os.environ["VERSION"])
