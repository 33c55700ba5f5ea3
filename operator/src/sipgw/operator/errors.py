"""Errors of the operator.

OperatorError
└── KubeError          the apiserver answered with an error, `status` says which
    ├── KubeConflict   409: it exists already, or another write came first
    ├── KubeForbidden  401, 403: a right is missing
    └── KubeAway       no answer
"""


class OperatorError(Exception):
    """Root of the package's errors."""


class KubeError(OperatorError):
    """The apiserver answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"apiserver: {message} ({status})" if status else f"apiserver: {message}")
        self.status = status


class KubeConflict(KubeError):
    """The object exists already, or another write came first: read it again."""


class KubeForbidden(KubeError):
    """A right is missing; docs/how-to lists the rights that the chart grants."""


class KubeAway(KubeError):
    """The apiserver did not answer."""

    def __init__(self, message: str) -> None:
        super().__init__(0, message)
