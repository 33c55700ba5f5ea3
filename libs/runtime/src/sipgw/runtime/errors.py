"""Errors of this package.

RuntimeLibError
└── StartupError    the process can't start as asked; people see its text as one line, exit status 2
"""


class RuntimeLibError(Exception):
    """Root of this package's errors."""


class StartupError(RuntimeLibError):
    """The process can't start as asked: a bad flag, a taken port. The text names the cause and the cure."""
