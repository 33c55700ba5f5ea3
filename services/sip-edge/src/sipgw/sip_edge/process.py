"""What every part of the edge shares: its settings, the config, its tasks and the clock."""

from collections.abc import Callable
from dataclasses import dataclass

from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.sip_edge.gateway_config import ConfigHolder
from sipgw.sip_edge.settings import EdgeSettings


@dataclass(frozen=True, slots=True)
class Process:
    """Made first, and given to whatever needs two of these or more."""

    settings: EdgeSettings
    gateway: ConfigHolder
    tasks: TaskGroupOwner
    """Whatever runs beside requests: calls, moves, watches."""
    requests: TaskGroupOwner
    """Requests that are being served."""
    now_ms: Callable[[], int]
    """Redis time."""
