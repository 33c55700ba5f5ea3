"""The bot's response time, from frames as they pass through the pipeline."""

import numpy as np
import pytest

from sipgw.audio import AudioFormat, Codec, encode
from sipgw.media_relay.pipeline.block import FrameBlock, FrameFlag
from sipgw.media_relay.pipeline.stage import TICK_MS, Tick
from sipgw.media_relay.stages.turns import TurnStage
from sipgw.rtp.kernels.columns import new_calls

FRAME_TICKS = 20 // TICK_MS
SPEECH, NOISE, NOTHING = 3000, 60, 0


class Talk:
    """Two calls with a frame every 20 ms; the test says how loud callers and bots are."""

    def __init__(self, codec=Codec.PCMU):
        self.turns = []
        self.stage = TurnStage(new_calls(2), lambda row, seconds: self.turns.append((row, round(seconds, 3))))
        self._format = AudioFormat(codec, 8000, 20)
        self._frame = 0
        self._noise = np.random.default_rng(7)
        for row in (0, 1):
            self.stage.open(row)

    def go_on(self, milliseconds, *, caller=NOTHING, bot=NOTHING, row=0, flag=FrameFlag.NONE):
        for _ in range(milliseconds // 20):
            self._frame += 1
            tick = Tick(self._frame * FRAME_TICKS, 0.0)
            self.stage.uplink(self._block(caller, row, flag), tick)
            self.stage.downlink(self._block(bot, row, FrameFlag.NONE if bot else FrameFlag.IDLE), tick)

    def _block(self, level, row, flag):
        pcm = (self._noise.standard_normal((1, 160)) * level).astype(np.int16)
        return FrameBlock(
            self._format,
            np.array([row], np.uint32),
            np.zeros(1, np.uint64),
            encode(self._format, pcm),
            np.full(1, 160, np.int32),
            np.full(1, flag, np.uint8),
        )


@pytest.mark.parametrize("codec", [Codec.PCMU, Codec.PCMA])
def test_a_turn_is_from_the_end_of_the_callers_speech_to_the_bots(codec):
    talk = Talk(codec)
    talk.go_on(1000, caller=SPEECH)
    talk.go_on(700, caller=NOISE)
    talk.go_on(1000, caller=NOISE, bot=SPEECH)
    talk.go_on(500, caller=SPEECH)
    talk.go_on(300)
    talk.go_on(20, bot=SPEECH)
    assert talk.turns == [(0, 0.72), (0, 0.32)]


def test_a_bot_that_goes_on_after_a_breath_has_not_answered_anew():
    talk = Talk()
    talk.go_on(500, caller=SPEECH)
    talk.go_on(400)
    for _ in range(5):
        talk.go_on(300, bot=SPEECH)
        talk.go_on(100)
    assert len(talk.turns) == 1


def test_a_bot_that_speaks_twice_with_nobody_in_between_answers_once():
    talk = Talk()
    talk.go_on(500, caller=SPEECH)
    for _ in range(3):
        talk.go_on(1000)
        talk.go_on(300, bot=SPEECH)
    assert talk.turns == [(0, 1.02)]


def test_an_echo_and_a_bot_that_speaks_first_are_no_turns():
    talk = Talk()
    talk.go_on(500, bot=SPEECH)
    talk.go_on(500, caller=SPEECH, bot=SPEECH)
    talk.go_on(40, bot=SPEECH)
    assert talk.turns == []


def test_a_lines_noise_and_concealed_frames_are_no_speech():
    talk = Talk()
    talk.go_on(500, caller=NOISE)
    talk.go_on(500, caller=SPEECH, flag=FrameFlag.CONCEALED)
    talk.go_on(500)
    talk.go_on(300, bot=SPEECH)
    assert talk.turns == []


def test_a_row_used_again_knows_nothing_of_the_call_before():
    talk = Talk()
    talk.go_on(500, caller=SPEECH)
    talk.stage.open(0)
    talk.go_on(500)
    talk.go_on(100, bot=SPEECH)
    assert talk.turns == []


def test_calls_are_told_apart():
    talk = Talk()
    talk.go_on(100, caller=SPEECH, row=1)
    talk.go_on(300, row=1)
    talk.go_on(100, bot=SPEECH, row=0)
    talk.go_on(100, bot=SPEECH, row=1)
    assert [row for row, _ in talk.turns] == [1]
