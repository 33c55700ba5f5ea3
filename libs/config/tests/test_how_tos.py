"""Documents that the pages show can be used as they stand."""

import re
from pathlib import Path

import pytest

from sipgw.config import ConfigError, load_documents

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = [
    (page, block)
    for page in PAGES
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    if "sipgw.io/" in block
]


def test_there_are_such_pages() -> None:
    assert len(SHOWN) > 5


@pytest.mark.parametrize(("page", "block"), SHOWN, ids=lambda one: one.stem if isinstance(one, Path) else "")
def test_what_a_page_shows_is_understood(page: Path, block: str) -> None:
    try:
        load_documents(block)
    except ConfigError as error:
        if "no such Secret exists" not in str(error):  # a command of the page makes it
            raise
