"""Tell a call's listener of an action of its bot."""

from sipgw.api import voicebot_pb2 as pb
from sipgw.media_relay.bots.interface import BotListener


def tell_action(listener: BotListener, handle: int, action: pb.CallAction) -> None:
    """Call the listener's method for anything but audio and accept; ignore unknown actions of newer bots."""
    match action.WhichOneof("payload"):
        case "control" if action.control.type == pb.BotControl.HANGUP:
            listener.bot_hangup(handle, "", at_once=False)
        case "control" if action.control.type == pb.BotControl.TRANSFER:
            listener.bot_transfer(handle, action.control.transfer_target, at_once=False)
        case "mark":
            listener.bot_mark(handle, action.mark.name)
        case "clear":
            listener.bot_clear(handle, action.clear.name)
        case "send_dtmf":
            listener.bot_send_dtmf(handle, action.send_dtmf.digits, action.send_dtmf.duration_ms or 100)
        case "hangup_now":
            listener.bot_hangup(handle, action.hangup_now.reason, at_once=True)
        case "transfer_now":
            listener.bot_transfer(handle, action.transfer_now.target, at_once=True)
        case _:
            pass
