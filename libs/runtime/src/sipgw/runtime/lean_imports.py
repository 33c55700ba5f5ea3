"""`without`: import a library without an optional part of it that this project never uses."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast


@contextmanager
def without(*modules: str) -> Generator[None]:
    """Make modules look as if they were not installed, for the imports of this block.

    A library that uses a module only where it is installed then starts sooner and smaller. Later imports find
    the modules again, and modules that are imported already stay.
    """
    known = cast("dict[str, Any]", sys.modules)
    hidden = [name for name in modules if name not in known]
    known.update(dict.fromkeys(hidden))  # None makes an import fail (Python's reference, "The module cache")
    try:
        yield
    finally:
        for name in hidden:
            del known[name]
