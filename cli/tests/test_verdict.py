import re
from dataclasses import replace

import pytest

from sipgw.cli.demo.verdict import Evidence, reasons_against
from sipgw.siptest import CallStatistics, LatencySummary

NUMBERS = CallStatistics(
    answer_time_ms=20.0,
    packets_sent=300,
    packets_received=300,
    packets_lost=0,
    packets_strange=0,
    reported_lost=None,
    jitter_ms=0.2,
    longest_gap_ms=21.0,
    worst_own_clock_ms=1.0,
    digits_sent="12",
    digits_received="",
)
GOOD = Evidence(NUMBERS, LatencySummary(30.0, 45.0, 50.0, 200, 200), "12", "12", (9000, 9000))


def test_a_good_call_has_nothing_against_it() -> None:
    assert reasons_against(GOOD) == []


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (replace(GOOD, statistics=replace(NUMBERS, packets_received=0), latency=None), "no audio came back"),
        (replace(GOOD, latency=None), "audio came back, but it was not what was said"),
        (replace(GOOD, latency=LatencySummary(30, 45, 50, 100, 200)), "only 100 of 200 frames"),
        (replace(GOOD, statistics=replace(NUMBERS, packets_lost=2)), "2 packets were lost"),
        (replace(GOOD, digits_heard="1"), "keys pressed were 12, the bot heard 1"),
        (replace(GOOD, digits_heard=""), "the bot heard none"),
        (replace(GOOD, recorded_levels=None), "there is no recording"),
        (replace(GOOD, crashes=("bot was killed by SIGKILL",)), "bot was killed by SIGKILL"),
        (replace(GOOD, recorded_levels=(0, 900)), r"left \(caller\) channel is silent"),
        (replace(GOOD, recorded_levels=(900, 0)), r"right \(bot\) channel is silent"),
    ],
)
def test_what_went_wrong_is_said(evidence: Evidence, reason: str) -> None:
    (told,) = reasons_against(evidence)
    assert re.search(reason, told)
