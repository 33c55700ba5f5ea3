"""Make the Allocate of a call from its record and its route, for its first relay and for every later one."""

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.runtime.telemetry.traces import traceparent
from sipgw.sip_edge.call.live_calls import trace_of
from sipgw.sip_edge.call.routing import is_tls
from sipgw.sip_edge.errors import Rejected
from sipgw.sip_edge.gateway_config import ConfigHolder

TRUNK_PCMU_COST = 1
STREAM_CALL_COST = 10
_CLOCK_DRIFT = 1000
"""A caller's clock may be one part in 1000 faster than ours, and so be ahead by that many frames."""
_MARGIN_MS = 100


class Allocations:
    """Make Allocate commands from records and the config in force."""

    def __init__(self, gateway: ConfigHolder) -> None:
        self._gateway = gateway

    def of(
        self,
        record: calls.CallSession,
        media: relay.MediaSpec,
        *,
        epoch: int = 0,
        continuation: relay.Continuation | None = None,
    ) -> relay.Allocate:
        """Make the Allocate of a call.

        `epoch` is the bot's; 0: that of the record. Raises Rejected when the config no longer has the call's
        route.
        """
        route = self._gateway.route(record.route)
        if route is None:
            raise Rejected(404, "Route Is Gone")
        bot = record.bot
        recording = self._gateway.recording_directory if route.record else ""
        number = epoch or bot.epoch
        return relay.Allocate(
            media=media,
            bot=relay.BotSpec(
                endpoint=bot.endpoint,
                tls=is_tls(route, bot.endpoint),
                protocol=route.protocol,
                audio=route.audio,
                playout=route.playout,
                ready_timeout_ms=route.bot_ready_timeout_ms,
                silent_after_ms=route.bot_silent_after_ms,
                reconnect_limit_ms=route.bot_reconnect_limit_ms,
                epoch=number,
                resume_token=bot.resume_token,
                to=record.to_display,
                from_parameters=record.from_parameters,
                to_parameters=record.to_parameters,
                route=record.route,
                trunk=record.trunk,
                sip_headers=bot.sip_headers,
                preferred_address=bot.address,
                **{"from": record.from_display},
            ),
            recording=relay.RecordingSpec(path=recording, part=number) if recording else None,
            traceparent=traceparent(trace_of(record)),
            early_media=route.early_media and not record.answered_ms,
            continuation=continuation,
        )

    def elapsed_ms(self, record: calls.CallSession, now_ms: int) -> int:
        """Give the time since the call's first audio, plus a margin.

        The margin keeps the bot's `seq` from going back.
        """
        route = self._gateway.route(record.route)
        is_early = route is not None and route.early_media
        since_ms = max(0, now_ms - (record.created_ms if is_early else record.answered_ms))
        return since_ms + since_ms // _CLOCK_DRIFT + _MARGIN_MS

    def cost_units(self, record: calls.CallSession) -> int:
        """Give the cost of the call to a relay, in units of a trunk PCMU call."""
        route = self._gateway.route(record.route)
        is_stream_call = route is not None and route.protocol == config.BOT_PROTOCOL_STREAM_CALL
        return STREAM_CALL_COST if is_stream_call else TRUNK_PCMU_COST
