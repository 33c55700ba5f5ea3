"""What can be wrong with audio that comes from outside.

AudioError
└── WavError    the file is no WAV, or of a coding that is not read
"""


class AudioError(Exception):
    """Root of the package's errors."""


class WavError(AudioError):
    """The file can't be read as WAV; the message says why."""
