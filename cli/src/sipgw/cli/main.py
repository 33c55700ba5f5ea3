"""The `sipgw` command. Commands import what they need when they run, so that `--help` is quick."""

import typer

from sipgw.cli.bans import bans
from sipgw.cli.call import call
from sipgw.cli.calls import calls, hangup
from sipgw.cli.demo.command import demo
from sipgw.cli.relays import drain, relays
from sipgw.cli.up import up

app = typer.Typer(
    name="sipgw",
    help="A gateway between phone calls (SIP) and voice bots (gRPC).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(up)
app.command()(call)
app.command()(calls)
app.command()(hangup)
app.command()(relays)
app.command()(drain)
app.command()(bans)
app.command()(demo)


if __name__ == "__main__":
    app()
