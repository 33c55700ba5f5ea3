"""mTLS as the chart installs it: by the commands of docs/how-to/tls.md, and with other certificates."""

import re
from pathlib import Path

import pytest
from clusterkit.callers import Callers
from clusterkit.certificates import renew
from clusterkit.commands import Commands
from clusterkit.kubectl import eventually
from clusterkit.release import ROOT, Release
from clusterkit.report import Report

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300, func_only=True)]
_PAGE = ROOT / "docs" / "how-to" / "tls.md"
_HERE = """
{make_certificate}
{forward} > forwarded 2>&1 &
trap "kill $!" EXIT
until grep -q 'Forwarding from 127.0.0.1' forwarded; do sleep 0.1; done
port=$(sed -n 's/Forwarding from 127.0.0.1:\\([0-9]*\\).*/\\1/p' forwarded)
{ask}
! {ask_without}
"""


def test_the_operators_certificate_opens_the_registry_and_nothing_else_does(
    release: Release, report: Report, tmp_path: Path
) -> None:
    (block,) = re.findall(r"```\n(mkdir -p tls/operator.*?)```", _PAGE.read_text(), re.DOTALL)
    make_certificate, forward, ask = re.split(r"\n(?=kubectl port-forward|sipgw )", block.strip())
    ask = ask.replace(":7070", ":$port")
    said = Commands(release.kubectl, tmp_path).run(
        _HERE.format(
            make_certificate=make_certificate,
            forward=forward.removesuffix("&").replace("7070", ":7070"),
            ask=ask,
            ask_without=ask.replace("--tls-dir tls/operator", ""),
        ),
        tmp_path,
    )
    assert "no calls" in said
    assert "registry 127.0.0.1:" in said, "without a certificate it is not served"
    report.add("mTLS: the registry, with and without a certificate", note="served; not served")


def test_certificates_that_are_gone_are_made_anew_under_calls(
    release: Release, callers: Callers, report: Report
) -> None:
    callers.dial(4, seconds=400)
    callers.mark()
    took_s = renew(release)
    callers.dial(4, seconds=400)
    callers.rest(2)
    findings = callers.findings()
    report.add("certificates by the operator, made anew", findings, f"served after {took_s:.0f} s")
    assert findings.lost == 0, findings.why_lost
    callers.hang_up()
    eventually(lambda: not release.calls(), 15, "every call can be ended")
