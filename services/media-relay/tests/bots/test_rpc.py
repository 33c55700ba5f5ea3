"""A bot's messages and status are read even when grpc.aio fails writes at the end of the stream."""

import grpc
import grpc.aio
import pytest

from sipgw.api import voicebot_pb2 as pb
from sipgw.api import voicebot_pb2_grpc
from sipgw.media_relay.streams.rpc import BidiCall

STREAMS = 100  # some 40 of them would end with INTERNAL if the first status were believed
SAID = 50  # messages before the end of the stream


@pytest.mark.parametrize("code", [grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED])
async def test_a_bot_that_ends_while_it_is_written_to_is_understood(bots, code: grpc.StatusCode):
    class Brief(voicebot_pb2_grpc.VoiceBotServicer):
        async def StreamCall(self, request_iterator, context):
            await context.read()
            for _ in range(SAID):
                await context.write(pb.CallAction(accept=pb.Accept()))
            if code is not grpc.StatusCode.OK:
                await context.abort(code, "full")

    bot = await bots(Brief())
    async with grpc.aio.insecure_channel(bot.address) as channel:
        stub = voicebot_pb2_grpc.VoiceBotStub(channel)
        for _ in range(STREAMS):
            call = BidiCall(stub.StreamCall())
            while await call.write(pb.CallEvent(audio=pb.AudioChunk(data=b"\x7f" * 160))):
                pass
            heard = 0
            while await call.read() is not None:
                heard += 1
            assert (heard, (await call.status).code) == (SAID, code)
