"""Mark the tests of foreign clients. A machine without one skips them; CI fails where it can be had."""

import importlib.util
import os
import platform
import shutil
import sys

import pytest

_IS_CI = bool(os.environ.get("CI"))
needs_sipp = pytest.mark.skipif(
    shutil.which("sipp") is None and not _IS_CI,
    reason="SIPp is not on the PATH (Debian: apt-get install sip-tester)",
)
_HAS_PJSIP_WHEEL = sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 13)
needs_pjsip = pytest.mark.skipif(
    importlib.util.find_spec("pjsua2") is None and not (_IS_CI and _HAS_PJSIP_WHEEL),
    reason="pjsua2 is not installed (make setup; it has wheels for Python 3.11 and 3.12 on Linux, x86-64)",
)
