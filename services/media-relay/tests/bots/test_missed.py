"""The events that a disconnected bot missed are kept in order, the newest within limits."""

from hypothesis import given
from hypothesis import strategies as st

from sipgw.api import voicebot_pb2 as pb
from sipgw.media_relay.bots.missed import EVENT_LIMIT, LIMIT_BYTES, LIMIT_MS, MissedFrame, MissedWords

FRAME_MS = 100
FRAME_LIMIT = LIMIT_MS // FRAME_MS
STEPS = st.lists(st.one_of(st.just("frame"), st.just("key"), st.integers(1, 30)), max_size=400)


def key(number: int) -> pb.CallEvent:
    return pb.CallEvent(dtmf=pb.DtmfEvent(digit=str(number)))


def number_of(item: MissedFrame | pb.CallEvent) -> int:
    return item.seq if isinstance(item, MissedFrame) else int(item.dtmf.digit)


@given(STEPS)
def test_it_is_taken_in_order_and_only_the_oldest_is_dropped(steps: list[str | int]):
    missed = MissedWords(FRAME_MS)
    model: list[tuple[str, int]] = []
    for number, step in enumerate(steps):
        match step:
            case "frame":
                missed.add_frame(MissedFrame(number, 0, bytes(160)))
                model.append(("frame", number))
            case "key":
                missed.add_event(key(number))
                model.append(("key", number))
            case int():
                part = missed.take(step)
                taken = [("key", number_of(event)) for event in part.events]
                taken += [("frame", number_of(frame)) for frame in part.frames]
                assert len(part.frames) <= step
                assert taken == model[: len(taken)]
                assert taken or not model, "nothing was taken though something was there"
                del model[: len(taken)]
            case _:
                raise AssertionError(step)
        for kind, limit in (("frame", FRAME_LIMIT), ("key", EVENT_LIMIT)):
            positions = [index for index, entry in enumerate(model) if entry[0] == kind]
            for index in reversed(positions[: max(0, len(positions) - limit)]):
                del model[index]
        frames = [number for kind, number in model if kind == "frame"]
        assert missed.last_seq == (frames[-1] if frames else None)
        assert len(missed) == len(model)


def test_large_frames_are_kept_up_to_the_limit_of_bytes():
    missed = MissedWords(20)
    for number in range(200):
        missed.add_frame(MissedFrame(number, 0, bytes(1920)))
    kept = missed.take(1000).frames
    assert [frame.seq for frame in kept] == list(range(200 - LIMIT_BYTES // 1920, 200))


def test_a_bot_that_wants_no_audio_still_gets_the_keys():
    missed = MissedWords(20)
    missed.add_frame(MissedFrame(1, 0, bytes(160)))
    missed.add_event(key(2))
    missed.add_frame(MissedFrame(3, 0, bytes(160)))
    missed.drop_frames()
    assert (missed.last_seq, len(missed)) == (None, 1)
    assert missed.take(0).events == [key(2)]
