"""A Secret changes under calls: the processes that use it take the new one by themselves."""

import base64

import pytest
from clusterkit.callers import Callers
from clusterkit.kubectl import eventually
from clusterkit.release import Release
from clusterkit.report import Report

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500, func_only=True)]
CALLS = 10
PASSWORD = 'a/b?c#d@e:f "g" \\h %41 ü'


def test_another_password_of_redis_restarts_it_and_loses_no_call(
    release: Release, callers: Callers, report: Report
) -> None:
    callers.dial(CALLS, seconds=400)
    callers.rest(2)
    callers.mark()
    redis = {pod["metadata"]["uid"] for pod in release.pods("redis")}
    others = {pod["metadata"]["uid"] for pod in release.pods("edge") + release.pods("registry")}
    encoded = base64.b64encode(PASSWORD.encode()).decode()
    patch = f'{{"data": {{"password": "{encoded}"}}}}'
    release.kubectl.run("patch", "secret", f"{release.name}-redis", "--type=merge", "-p", patch)
    took_s = eventually(
        lambda: not redis & {pod["metadata"]["uid"] for pod in release.pods("redis")},
        240,
        "another Redis",
        every_s=2,
    )
    eventually(lambda: release.ready_pods("redis"), 60, "it is ready")
    eventually(lambda: len(release.calls()) >= CALLS, 60, "the calls are in it")
    callers.dial(2, tries=10)
    callers.rest(2)
    findings = callers.findings()
    report.add("Redis: another password", findings, f"restarted after {took_s:.0f} s")
    assert findings.lost == 0, findings.why_lost
    assert others == {p["metadata"]["uid"] for p in release.pods("edge") + release.pods("registry")}
    callers.hang_up()
    eventually(lambda: not release.calls(), 15, "every call can be ended")
