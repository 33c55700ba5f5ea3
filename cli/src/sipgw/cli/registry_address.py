"""Which registry a command talks to: --registry, SIPGW_REGISTRY, else that of the `sipgw up` running here."""

from sipgw.cli.problems import MISUSED, give_up


def find_registry(told: str | None) -> str:
    """host:port. Ends the process with a reason when there is none, or when there are several."""
    if told:
        return told
    from sipgw.local.state_file import running_gateways

    running = running_gateways()
    if not running:
        give_up(
            "no gateway runs here; start one with `sipgw up`, or name a registry with --registry",
            status=MISUSED,
        )
    if len(running) > 1:
        choices = ", ".join(f"{gateway.registry} (pid {gateway.pid})" for gateway in running)
        give_up(f"several gateways run here; choose one with --registry: {choices}", status=MISUSED)
    return running[0].registry
