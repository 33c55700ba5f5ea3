"""The request methods and what RFC 3261 and its extensions say about each."""

from typing import Final

ACK: Final = "ACK"
BYE: Final = "BYE"
CANCEL: Final = "CANCEL"
INFO: Final = "INFO"
INVITE: Final = "INVITE"
MESSAGE: Final = "MESSAGE"
NOTIFY: Final = "NOTIFY"
OPTIONS: Final = "OPTIONS"
PRACK: Final = "PRACK"
PUBLISH: Final = "PUBLISH"
REFER: Final = "REFER"
REGISTER: Final = "REGISTER"
SUBSCRIBE: Final = "SUBSCRIBE"
UPDATE: Final = "UPDATE"

KNOWN: Final = frozenset(
    {
        ACK,
        BYE,
        CANCEL,
        INFO,
        INVITE,
        MESSAGE,
        NOTIFY,
        OPTIONS,
        PRACK,
        PUBLISH,
        REFER,
        REGISTER,
        SUBSCRIBE,
        UPDATE,
    }
)
"""Methods with an RFC: one of these that we do not serve gets 405, any other 501."""

DIALOG_CREATING: Final = frozenset({INVITE, SUBSCRIBE, REFER})
"""Responses to these copy Record-Route (RFC 3261 §12.1.1, RFC 6665, RFC 3515)."""

TARGET_REFRESH: Final = frozenset({INVITE, UPDATE, SUBSCRIBE, NOTIFY, REFER})
"""Requests whose Contact replaces the dialog's remote target (RFC 3261 §12.2, RFC 3311, RFC 6665, RFC 3515).
"""
