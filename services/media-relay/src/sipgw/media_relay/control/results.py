"""Make the results of commands."""

from sipgw.api.relay.v1 import control_pb2 as pb


def done() -> pb.CommandResult:
    """Return the result of a command that was carried out."""
    return pb.CommandResult(status=pb.COMMAND_STATUS_OK)


def refused(status: pb.CommandStatus.ValueType, message: str) -> pb.CommandResult:
    """Return the result of a command that was not carried out, with cause and cure."""
    return pb.CommandResult(status=status, message=message)
