"""gRPC channels between our processes: a dead peer is noticed in seconds, a returned one found at once."""

import grpc.aio

MAX_MESSAGE_BYTES = 16 << 20
_CONNECT_TIMEOUT_MS = 1000
_MAX_BACKOFF_MS = 1000


def open_channel(target: str, *, keepalive_s: float = 5) -> grpc.aio.Channel:
    """A channel to "host:port".

    It pings every `keepalive_s`, also when idle; an unanswered ping closes the connection. It reconnects
    within a second of the peer's return. Proxy variables of the environment are not for these links.
    """
    keepalive_ms = int(keepalive_s * 1000)
    return grpc.aio.insecure_channel(
        target,
        options=[
            ("grpc.keepalive_time_ms", keepalive_ms),
            ("grpc.keepalive_timeout_ms", min(keepalive_ms, 3000)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            (
                "grpc.min_reconnect_backoff_ms",
                _CONNECT_TIMEOUT_MS,
            ),  # in truth the time given to one connect
            ("grpc.max_reconnect_backoff_ms", _MAX_BACKOFF_MS),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_http_proxy", 0),
        ],
    )
