#!/usr/bin/env python3
"""Check that the repository stands on its own: references.py.

No file names a path outside of the repository. Every page of docs/ and every ADR that a line cites is there,
and so are the files that a Markdown page links or names in backticks, as `libs/sip` or `sip_edge/record`.
Files that git ignores are not read.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_ADRS = _ROOT / "docs" / "adr"
_ROOTS = (_ROOT, _ROOT / "services" / "sip-edge" / "src" / "sipgw")
_OUTSIDE = re.compile(r"\.\./shared\b|(?<![\w.$])/work/|\b(DESIGN|STYLE)(\.md| §|'s)")
_PAGE = re.compile(r"(?<![\w./-])docs/[\w/.-]+\.md\b")
_ADR = re.compile(r"\bADR (\d{4})\b")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
_NAMED = re.compile(
    r"`((?:services|libs|sip_edge|operator|sdk|cli|charts|e2e|bench|docker|testrun|proto)/[\w./-]+)`"
)
_ADDRESS = re.compile(r"[a-z]+:")


def main() -> int:
    faults = [fault for path in _files() for fault in _faults_of(path)]
    print("\n".join(faults) or "references: every one leads into the repository")
    return 1 if faults else 0


def _files() -> Iterator[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True).stdout
    for name in listed.split("\0"):
        path = _ROOT / name
        if name and path.is_file() and path != Path(__file__).resolve():
            yield path


def _faults_of(path: Path) -> Iterator[str]:
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        return  # a picture, a recording
    for number, line in enumerate(text.splitlines(), 1):
        place = f"{path.relative_to(_ROOT)}:{number}"
        if outside := _OUTSIDE.search(line):
            yield f"{place}: {outside.group()}: not in the repository; cite an RFC, an ADR or a page of docs/"
        for cited in _cited(line, path):
            yield f"{place}: {cited}: no such file"


def _cited(line: str, path: Path) -> Iterator[str]:
    """Yield the missing targets that a line refers to."""
    yield from (page for page in _PAGE.findall(line) if not (_ROOT / page).exists())
    yield from (f"ADR {number}" for number in _ADR.findall(line) if not [*_ADRS.glob(f"{number}-*.md")])
    if path.suffix == ".md":
        links = [link for link in _LINK.findall(line) if not _ADDRESS.match(link)]
        yield from (link for link in links if not (path.parent / link).exists())
        for name in _NAMED.findall(line):
            if not any((root / name).exists() for root in _ROOTS):
                yield name


if __name__ == "__main__":
    sys.exit(main())
