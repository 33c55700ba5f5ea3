"""Errors of audio from outside.

AudioError
└── WavError    the file is no WAV, or in a coding that is not supported
"""


class AudioError(Exception):
    """Root of the package's errors."""


class WavError(AudioError):
    """The file can't be read as WAV; the message says why."""
