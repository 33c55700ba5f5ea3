"""Clients that are not ours. A machine without one skips its tests; where CI is set they fail."""

import importlib.util
import os
import shutil

import pytest

_IS_CI = bool(os.environ.get("CI"))
needs_sipp = pytest.mark.skipif(
    shutil.which("sipp") is None and not _IS_CI,
    reason="SIPp is not on the PATH (Debian: apt-get install sip-tester)",
)
needs_pjsip = pytest.mark.skipif(
    importlib.util.find_spec("pjsua2") is None and not _IS_CI,
    reason="pjsua2 is not installed (make setup; it has wheels for Linux on x86-64)",
)
