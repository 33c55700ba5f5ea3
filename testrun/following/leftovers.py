"""A pytest plugin: free resources that a failed test left open, so that they fail no later test.

The last traceback holds the sockets and tasks of the failed test until the next test begins. They would be
closed in that one, with a warning each; and where warnings are errors, it would fail too.
"""

import gc
import sys
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool | None, bool | None]:
    """Free the leftovers between two tests, where their warnings are not raised."""
    failed = item.session.testsfailed
    handled = yield
    if item.session.testsfailed > failed:
        for name in ("last_exc", "last_value", "last_type", "last_traceback"):
            if hasattr(sys, name):
                delattr(sys, name)
        heard, sys.unraisablehook = sys.unraisablehook, _ignore
        try:
            gc.collect()
        finally:
            sys.unraisablehook = heard
    return handled


def _ignore(_: object) -> None:
    pass
