"""Find which members of the workspace an image holds: those that its service needs, by the pyproject files.

`members.py TARGET` prints how their wheels' names begin, for the builder; `requirements.py` imports the rest.
"""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {
    "edge": ("sipgw-sip-edge",),
    "relay": ("sipgw-media-relay",),
    "registry": ("sipgw-registry",),
    "operator": ("sipgw-operator",),
    "tools": ("sipgw-cli", "sipgw-bot"),
}
"""An image's name, and the distributions whose commands it is for."""

SERVICES = ("edge", "relay", "registry", "operator")


def distributions() -> dict[str, Path]:
    """Find every member of the workspace: its distribution's name and its pyproject.toml."""
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]
    found: dict[str, Path] = {}
    for pattern in workspace["members"]:
        for path in sorted(ROOT.glob(f"{pattern}/pyproject.toml")):
            found[tomllib.loads(path.read_text())["project"]["name"]] = path
    return found


def members_of(target: str, known: dict[str, Path]) -> set[str]:
    """Find our distributions that `target` needs; none when its service is not in this tree."""
    wanted = [name for name in TARGETS[target] if name in known]
    needed: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in needed:
            needed.add(name)
            project = tomllib.loads(known[name].read_text())["project"]
            wanted += [bare for line in project["dependencies"] if (bare := bare_name(line)) in known]
    return needed


def bare_name(requirement: str) -> str:
    """Return the name alone: `redis` of `redis[hiredis]>=6; ...`."""
    return next(
        (requirement[:i] for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), requirement
    )


if __name__ == "__main__":
    print(*(name.replace("-", "_") for name in sorted(members_of(sys.argv[1], distributions()))))
