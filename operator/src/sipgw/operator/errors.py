"""Errors of the operator.

OperatorError
└── KubeError          the apiserver answered with an error, `status` says which
    ├── KubeConflict   409: it exists already, or another wrote in between
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


class KubeConflict(KubeError):  # noqa: N818 - outcomes, named as callers read them
    """It exists already, or another wrote in between: read again."""


class KubeForbidden(KubeError):  # noqa: N818
    """A right is missing; docs/how-to say which the chart gives."""


class KubeAway(KubeError):  # noqa: N818
    """No answer."""

    def __init__(self, message: str) -> None:
        super().__init__(0, message)
