"""Settings of all tests: no property fails for a slow machine; CI draws the same examples each time."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["following.plugin", "following.leftovers"]

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
