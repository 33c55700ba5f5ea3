"""Errors of the store.

StoreError
├── StoreUrlError       the URL names no Redis that we can use
├── StoreUnavailable    Redis did not answer within the bound; whether a write took effect is unknown
└── StoreProtocolError  Redis answered with an error: our command or script is wrong, or its ACL forbids it
"""


class StoreError(Exception):
    """Root of the package's errors."""


class StoreUrlError(StoreError, ValueError):
    """The URL names no usable Redis; the message lists the allowed forms."""


class StoreUnavailable(StoreError):
    """Redis did not answer in time. A write may or may not have taken effect."""


class StoreProtocolError(StoreError):
    """Redis refused the command itself."""
