"""Render the chart with a real helm, for its tests and its golden manifests."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[1]
HELM = CHART.parent / "helm.sh"
Manifest = dict[str, Any]


class RenderingError(Exception):
    """Helm refused to render; the text is its error output."""


def render_text(*options: str, values: Manifest | None = None) -> str:
    """Return the output of `helm template` for a release "sipgw" in the namespace "voice"."""
    command = [str(HELM), "template", "sipgw", str(CHART), "--namespace", "voice", *options]
    if values is not None:
        command += ["--values", "-"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, input=yaml.safe_dump(values or {})
    )
    if done.returncode != 0:
        raise RenderingError(done.stderr)
    return done.stdout


def render(*options: str, values: Manifest | None = None) -> list[Manifest]:
    """Return the rendering as documents."""
    return [document for document in yaml.safe_load_all(render_text(*options, values=values)) if document]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    return next(m for m in of_kind(manifests, kind) if m["metadata"]["name"] == name)


def pod_templates(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return every pod template of the release by the name of its workload, and every Pod by its own."""
    found = {
        m["metadata"]["name"]: m["spec"]["template"]
        for m in of_kind(manifests, "DaemonSet", "Deployment", "StatefulSet")
    }
    return found | {m["metadata"]["name"]: m for m in of_kind(manifests, "Pod")}


def flags(template: Manifest) -> dict[str, str]:
    """Return the flags of the first container, `--flag=value`, as a dict."""
    arguments: list[str] = template["spec"]["containers"][0]["args"]
    return dict(text.partition("=")[::2] for text in arguments)
