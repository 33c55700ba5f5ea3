"""The release before this one, built from the tree of the commit before the last that changed the product.

That is HEAD~1, unless HEAD changed tests or documents alone, which would be an upgrade to the same. Without
the history (an archive, a shallow clone) it is this tree under another tag. The roll is then real, but the
compatibility of two versions is not shown, and `note` says so.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from clusterkit.release import ROOT

TAG = "previous"
_PRODUCT = (
    *("services", "libs", "operator", "charts", "docker", "proto", "requirements.lock"),
    ":(exclude,glob)**/tests/**",
)


@dataclass(frozen=True)
class Previous:
    chart: Path
    archives: list[Path]
    note: str


def build_previous(scratch: Path) -> Previous:
    """Build the previous release; SIPGW_E2E_FROM names another commit."""
    commit = os.environ.get("SIPGW_E2E_FROM") or _before_the_last_change()
    tree = _checkout(commit, scratch / "tree") if commit else ROOT
    out = scratch / "images"
    subprocess.run(
        [sys.executable, str(tree / "docker" / "images.py"), "--version", TAG, "--out", str(out)],
        check=True,
        capture_output=True,
    )
    note = f"from {commit}" if commit else "from this commit under another tag: its history is not here"
    return Previous(tree / "charts" / "sipgw", sorted(out.glob("*.tar")), note)


def _before_the_last_change() -> str | None:
    """Return the commit before the last change of the product; None without the history."""
    if not (ROOT / ".git").exists():
        return None
    last = _git("rev-list", "-1", "HEAD", "--", *_PRODUCT)
    if _git("rev-parse", "--is-shallow-repository") == "true" and not _git(
        "rev-list", "-1", "--skip=1", last
    ):
        return None
    return _git("rev-parse", "--short", f"{last}~1")


def _checkout(commit: str, tree: Path) -> Path:
    tree.mkdir(parents=True)
    archive = subprocess.run(["git", "-C", ROOT, "archive", commit], check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", tree], check=True, input=archive.stdout)
    return tree


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", ROOT, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()
