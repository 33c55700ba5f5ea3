"""The settings, config, tasks and clock that the parts of the edge share."""

from collections.abc import Callable
from dataclasses import dataclass

from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.sip_edge.gateway_config import ConfigHolder
from sipgw.sip_edge.settings import EdgeSettings


@dataclass(frozen=True, slots=True)
class Process:
    """Shared by all parts that need two or more of these."""

    settings: EdgeSettings
    gateway: ConfigHolder
    tasks: TaskGroupOwner
    """Tasks beside requests: of calls, moves and watches."""
    requests: TaskGroupOwner
    """Tasks that serve requests."""
    now_ms: Callable[[], int]
    """Gives Redis time."""
