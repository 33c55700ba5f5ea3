"""A PJSIP telephone in a process of its own: commands on stdin, events on stdout, both JSON lines.

Null audio device; a WAV file plays into the call and what is heard is recorded into another.
Commands: {"do": "call", "uri": ..., "play": FILE, "record": FILE}, hangup, hold, resume, dtmf (digits),
play (file), record (file), stop_recording, quit.
"""

import argparse
import json
import os
import select
import sys

import pjsua2 as pj


def tell(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def words(error: Exception) -> str:
    return error.info() if isinstance(error, pj.Error) else repr(error)


class Player(pj.AudioMediaPlayer):
    def onEof2(self) -> None:  # noqa: N802
        tell("played")


class Call(pj.Call):
    def __init__(self, account: pj.Account) -> None:
        super().__init__(account)
        self.player: Player | None = None
        self.recorder: pj.AudioMediaRecorder | None = None

    def onCallState(self, prm) -> None:  # noqa: N802
        if self.getId() < 0:  # pjsua2 reports CALLING within makeCall, when the call has no id
            return
        info = self.getInfo()
        tell("state", state=info.stateText, status=info.lastStatusCode, reason=info.lastReason)

    def onCallMediaState(self, prm) -> None:  # noqa: N802
        try:
            self.tell_media()
        except Exception as error:  # pjsua2 would swallow the error
            tell("error", text=words(error))

    def tell_media(self) -> None:
        statuses = {
            pj.PJSUA_CALL_MEDIA_ACTIVE: "active",
            pj.PJSUA_CALL_MEDIA_LOCAL_HOLD: "local_hold",
            pj.PJSUA_CALL_MEDIA_REMOTE_HOLD: "remote_hold",
        }
        info = self.getInfo()  # keep it: it owns the media that it lists
        for media in info.media:
            if media.type == pj.PJMEDIA_TYPE_AUDIO:
                status = statuses.get(media.status, str(media.status))
                codec = ""
                if status == "active":
                    codec = self.getStreamInfo(media.index).codecName
                    self.connect()
                tell("media", status=status, codec=codec)

    def onDtmfDigit(self, prm) -> None:  # noqa: N802
        tell("digit", digit=prm.digit)

    def connect(self) -> None:
        """Connect player and recorder to the call's media, which PJSIP makes anew after each re-INVITE."""
        media = self.getAudioMedia(-1)
        if self.player is not None:
            self.player.startTransmit(media)
        if self.recorder is not None:
            media.startTransmit(self.recorder)

    def is_active(self) -> bool:
        if self.getId() < 0:
            return False
        info = self.getInfo()
        return any(media.status == pj.PJSUA_CALL_MEDIA_ACTIVE for media in info.media)

    def play(self, file: str) -> None:
        self.player = Player()
        self.player.createPlayer(file, pj.PJMEDIA_FILE_NO_LOOP)
        if self.is_active():
            self.connect()

    def record(self, file: str) -> None:
        self.recorder = pj.AudioMediaRecorder()
        self.recorder.createRecorder(file)
        if self.is_active():
            self.connect()

    def stop_recording(self) -> None:
        """Close the recorder, which writes the file's header."""
        self.recorder = None
        tell("recorded")


class Telephone:
    def __init__(self, endpoint: pj.Endpoint, host: str, user: str, password: str) -> None:
        self.endpoint = endpoint
        transport = pj.TransportConfig()
        transport.boundAddress = host
        endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
        endpoint.libStart()
        endpoint.audDevManager().setNullDev()
        account = pj.AccountConfig()
        account.idUri = f"sip:pjsip@{host}"
        if user:
            account.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", user, 0, password))
        account.mediaConfig.transportConfig.boundAddress = host
        self.account = pj.Account()
        self.account.create(account)
        self.call: Call | None = None

    def do(self, command: dict) -> bool:
        """Carry out one command; False ends the process."""
        what = command.pop("do")
        if what == "quit":
            return False
        prm = pj.CallOpParam(True)
        if what == "call":
            self.call = Call(self.account)
            for before in ("play", "record"):
                if before in command:
                    getattr(self.call, before)(command[before])
            self.call.makeCall(command["uri"], prm)
            return True
        assert self.call is not None, "no call"
        if what == "hangup":
            self.call.hangup(prm)
        elif what == "hold":
            self.call.setHold(prm)
        elif what == "resume":
            prm.opt.flag = pj.PJSUA_CALL_UNHOLD
            self.call.reinvite(prm)
        elif what == "dtmf":
            self.call.dialDtmf(command["digits"])
        else:
            getattr(self.call, what)(**command)
        return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--codec", default="PCMU")
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    options = parser.parse_args()
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    config.logConfig.level = config.logConfig.consoleLevel = 0
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.medConfig.noVad = True
    config.medConfig.ecTailLen = 0
    endpoint.libInit(config)
    for codec in endpoint.codecEnum2():
        endpoint.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith(options.codec) else 0)
    telephone = Telephone(endpoint, options.host, options.user, options.password)
    tell("ready")
    os.set_blocking(0, False)
    pending = b""
    running = True
    while running:
        endpoint.libHandleEvents(10)
        if not select.select([0], [], [], 0)[0]:
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            break
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            try:
                running = telephone.do(json.loads(line)) and running
            except Exception as error:
                tell("error", text=words(error))
    telephone.call = None
    endpoint.libDestroy()
    os._exit(0)  # pjsua2's objects must not be destroyed again by the interpreter's end


if __name__ == "__main__":
    main()
