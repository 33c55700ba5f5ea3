"""Transfer a caller for a bot: send REFER, take its NOTIFYs, tell the bot the outcome (RFC 3515).

If the transfer succeeds, the call ends; otherwise it goes on with the bot.
"""

import asyncio
import re
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.control import ControlError
from sipgw.runtime.telemetry.traces import call_span
from sipgw.sip import RequestReceived, SipParseError, parse_uri
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.live_calls import LiveCall, log_of, trace_of
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.errors import EdgeError, Rejected
from sipgw.sip_edge.media.media_plane import MediaPlane
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record import sequencing
from sipgw.sip_edge.record.states import ANSWERED
from sipgw.sip_edge.sip.responses import response_to
from sipgw.sip_edge.sip.signalling import Signalling
from sipgw.store import StoreUnavailable

_STATUS_LINE: Final = re.compile(rb"SIP/2\.0 ([1-6]\d\d)\b")
_NUMBER: Final = re.compile(r"\+?[0-9*#]{1,32}")
_NO_NEWS: Final = 408


class Transfers:
    """Transfers callers, at most one transfer at a time for each call."""

    def __init__(
        self,
        process: Process,
        served: ServedCalls,
        media: MediaPlane,
        signalling: Signalling,
    ) -> None:
        self._records = served.records
        self._sip = signalling.sip
        self._live = served.live
        self._media = media.commands
        self._requests = signalling.requests
        self._ending = served.ending
        self._local = signalling.local
        self._timeout_s = process.settings.times.transfer_s

    async def transfer(self, call_id: str, target: str) -> None:
        """Ask the caller to call `target`; wait for the outcome and act on it."""
        live = self._live.get(call_id)
        record = self._records.copy_of(call_id)
        if live is None or record is None:
            return
        refer_to = self._refer_to(target, record)
        if refer_to is None:
            await self._inform(record, 400, f"{target!r} is neither a SIP URI nor a number")
            return
        if live.transfer is not None:
            await self._inform(record, 491, "a transfer is under way")
            return
        with (
            live.transferring() as outcome,
            call_span("transfer", live.trace, target=refer_to) as span,
        ):
            status = await self._refer(live, refer_to, outcome)
            span.set("sip.status", status)
        await self._conclude(call_id, status)

    async def notified(self, event: RequestReceived, record: calls.CallSession) -> None:
        """Take a NOTIFY, whose sipfrag body has a status line of the transfer."""
        request = event.request
        if (request.headers.get("Event") or "").partition(";")[0].strip().lower() != "refer":
            raise Rejected(489, headers=(("Allow-Events", "refer"),))
        match = _STATUS_LINE.search(request.body)
        if match is None:
            raise Rejected(400, "No Status Line")
        self._sip.respond(event.key, response_to(request, 200))
        status = int(match[1])
        live = self._live.get(record.call_id)
        if live is not None and live.transfer is not None:
            if status >= 200 and not live.transfer.done():
                live.transfer.set_result(status)
        elif status >= 200:
            # The edge that sent the REFER is gone, so this one tells the bot the outcome.
            await self._conclude(record.call_id, status)

    async def _refer(self, live: LiveCall, refer_to: str, outcome: "asyncio.Future[int]") -> int:
        """Give the final status of the transfer, or of the REFER if that was refused."""
        record = await self._records.update(live.call_id, sequencing.number_request, as_owner=True)
        log_of(record).info("transfer_asked", target=refer_to)
        headers = (
            ("Refer-To", f"<{refer_to}>"),
            ("Referred-By", self._local.contact(live.call_id)),
        )
        status = await self._requests.send(record, "REFER", headers=headers)
        if status >= 300:
            return status
        try:
            async with asyncio.timeout(self._timeout_s):
                return await outcome
        except TimeoutError:
            return _NO_NEWS

    async def _conclude(self, call_id: str, status: int) -> None:
        try:
            record = await self._records.load(call_id)
            if record is None or record.state not in ANSWERED:
                return
            is_accepted = 200 <= status < 300
            log_of(record).info("transfer_concluded", status=status, accepted=is_accepted)
            await self._inform(record, status, "")
            if is_accepted:
                await self._ending.end(call_id, End(calls.END_CAUSE_TRANSFERRED, "transferred"))
        except (EdgeError, StoreUnavailable) as error:
            live = self._live.get(call_id)
            if live is not None:
                live.log.warning("transfer_not_concluded", error=str(error))

    async def _inform(self, record: calls.CallSession, status: int, reason: str) -> None:
        outcome = relay.Inform(
            transfer_accepted=200 <= status < 300, transfer_status=status, transfer_reason=reason
        )
        with call_span("inform", trace_of(record), status=status):
            try:
                await self._media.inform(record, outcome)
            except ControlError as error:
                log_of(record).warning("inform_failed", error=str(error))

    def _refer_to(self, target: str, record: calls.CallSession) -> str | None:
        """Make the Refer-To URI: a URI as it is, a number at the domain that the caller came from."""
        if _NUMBER.fullmatch(target):
            host = record.legs[0].invite.source.address
            return f"sip:{target}@{f'[{host}]' if ':' in host else host}"
        try:
            uri = parse_uri(target)
        except SipParseError:
            return None
        return str(uri) if uri.scheme in {"sip", "sips", "tel"} else None
