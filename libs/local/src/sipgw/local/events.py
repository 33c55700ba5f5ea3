"""The events that a supervisor reports to a user interface."""

from dataclasses import dataclass

from sipgw.local.service_log import LogLine


@dataclass(frozen=True, slots=True)
class ServiceStarted:
    """A service is ready, at the addresses of `binds`."""

    name: str
    pid: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ServiceCrashed:
    """A service ended unexpectedly; it is started again after `restart_in_s`."""

    name: str
    how: str
    last_words: str
    restart_in_s: float


@dataclass(frozen=True, slots=True)
class ServiceRestarted:
    """A service that had crashed is ready again."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class ServiceStopped:
    """A service was ended by us."""

    name: str
    is_clean: bool


@dataclass(frozen=True, slots=True)
class ServiceLogged:
    """A line of a service's log."""

    name: str
    line: LogLine


SupervisorEvent = ServiceStarted | ServiceCrashed | ServiceRestarted | ServiceStopped | ServiceLogged
