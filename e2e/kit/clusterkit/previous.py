"""The release before this one: the previous commit's chart and images, built from its own tree.

Where that commit has no chart (the first that has one), this tree's under another tag: the roll is then real,
the compatibility of two versions is not shown, and `note` says so.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from clusterkit.release import ROOT

TAG = "previous"


@dataclass(frozen=True)
class Previous:
    chart: Path
    archives: list[Path]
    note: str


def build_previous(scratch: Path) -> Previous:
    """SIPGW_E2E_FROM names another commit than HEAD~1."""
    commit = os.environ.get("SIPGW_E2E_FROM", "HEAD~1")
    tree = _checkout(commit, scratch / "tree")
    note = f"from {commit}" if tree is not None else "from this commit under another tag"
    tree = tree or ROOT
    out = scratch / "images"
    subprocess.run(
        [sys.executable, str(tree / "docker" / "images.py"), "--version", TAG, "--out", str(out)],
        check=True,
        capture_output=True,
    )
    return Previous(tree / "charts" / "sipgw", sorted(out.glob("*.tar")), note)


def _checkout(commit: str, tree: Path) -> Path | None:
    """The tree of that commit, when it can be had and can build images."""
    tree.mkdir(parents=True)
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], check=False, capture_output=True)
    if archive.returncode != 0:
        return None
    subprocess.run(["tar", "-x", "-C", str(tree)], check=True, input=archive.stdout)
    builder = tree / "docker" / "images.py"
    return tree if builder.exists() and '"--out"' in builder.read_text() else None
