"""alone.py COMMAND...: bring the loopback interface of a new network namespace up, and become the command.

Not every machine has the command ip. It fails where there are other interfaces: that is no new namespace.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1  # Linux: netdevice(7)
_LOOPBACK = b"lo"


def is_alone() -> bool:
    """Whether this process sees no network but its own loopback interface."""
    return [name for _, name in socket.if_nameindex()] == [_LOOPBACK.decode()]


def bring_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", _LOOPBACK, 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", _LOOPBACK, flags | _IFF_UP))


if __name__ == "__main__":
    if not is_alone():
        sys.exit("there are other networks here: unshare --map-root-user --net")
    bring_up()
    os.execvp(sys.argv[1], sys.argv[1:])
