"""Ask a DNS server for the address of a name (RFC 1035 §4), and fail without an answer.

resolve.py SERVER NAME
"""

import socket
import struct
import sys

_TIMEOUT_S = 1
_RECURSION_DESIRED = 0x0100
_RESPONSE_CODE = 0x0F


def main() -> None:
    server, name = sys.argv[1:]
    header = struct.pack(">6H", 1, _RECURSION_DESIRED, 1, 0, 0, 0)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    type_and_class = struct.pack(">BHH", 0, 1, 1)  # the root's label, A, IN
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(_TIMEOUT_S)
        client.sendto(header + labels + type_and_class, (server, 53))
        response = client.recv(512)
    answers = int.from_bytes(response[6:8])
    if response[3] & _RESPONSE_CODE or not answers:
        sys.exit(f"resolve.py: {server} does not know {name}")


if __name__ == "__main__":
    main()
