"""`python -m sipgw.cli`: the same as `sipgw`."""

from sipgw.cli.main import app

app()
