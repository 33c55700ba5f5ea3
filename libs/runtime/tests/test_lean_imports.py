"""Imports without an optional module."""

import importlib
import sys
from pathlib import Path

import pytest

from sipgw.runtime.lean_imports import without


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a library that uses `large_part.inner` where that is installed."""
    (tmp_path / "large_part").mkdir()
    (tmp_path / "large_part" / "__init__.py").touch()
    (tmp_path / "large_part" / "inner.py").touch()
    lines = ("try:", "    import large_part.inner", "    has_part = True")
    library = "\n".join((*lines, "except ImportError:", "    has_part = False", ""))
    (tmp_path / "some_library.py").write_text(library)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("some_library", "large_part", "large_part.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_library_is_imported_without_its_optional_part() -> None:
    with without("large_part"):
        assert not importlib.import_module("some_library").has_part
    assert "large_part" not in sys.modules


def test_whoever_needs_the_part_later_finds_it() -> None:
    with without("large_part"):
        importlib.import_module("some_library")
    assert importlib.import_module("large_part.inner")


def test_a_part_that_is_imported_already_is_used() -> None:
    importlib.import_module("large_part.inner")
    with without("large_part"):
        assert importlib.import_module("some_library").has_part
    assert "large_part" in sys.modules


def test_an_import_that_fails_leaves_nothing_hidden() -> None:
    with pytest.raises(ModuleNotFoundError), without("large_part"):
        importlib.import_module("large_part")
    assert importlib.import_module("large_part")
