"""SipPhone, audio probe and lossy link: the kit for tests, benches and `sipgw call`."""

from sipgw.siptest.audio_track import AudioTrack, TrackPacket
from sipgw.siptest.call import CallEnd, CallPhase, EndedBy, PhoneCall
from sipgw.siptest.endpoint import SipTraffic
from sipgw.siptest.errors import CallOver, CallRefused, CallTimedOut, NoRoute, SipTestError
from sipgw.siptest.incoming import IncomingCall
from sipgw.siptest.login import Login
from sipgw.siptest.lossy_link import Direction, Faults, LossyLink, drop_first
from sipgw.siptest.phone import SipPhone
from sipgw.siptest.probe import (
    EchoLatency,
    LatencySummary,
    ProbeSignal,
    echo_latencies,
    find_signal,
    summarise,
)
from sipgw.siptest.received_audio import ReceivedAudio, ReceivedPacket
from sipgw.siptest.speech import speech_like
from sipgw.siptest.statistics import CallStatistics, echo_latency

__all__ = [
    "AudioTrack",
    "CallEnd",
    "CallOver",
    "CallPhase",
    "CallRefused",
    "CallStatistics",
    "CallTimedOut",
    "Direction",
    "EchoLatency",
    "EndedBy",
    "Faults",
    "IncomingCall",
    "LatencySummary",
    "Login",
    "LossyLink",
    "NoRoute",
    "PhoneCall",
    "ProbeSignal",
    "ReceivedAudio",
    "ReceivedPacket",
    "SipPhone",
    "SipTestError",
    "SipTraffic",
    "TrackPacket",
    "drop_first",
    "echo_latencies",
    "echo_latency",
    "find_signal",
    "speech_like",
    "summarise",
]
