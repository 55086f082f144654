"""Keeps an app's servers on this machine's loopback: what Cloud Run puts behind its front door is on no network here.

Cloud Run wants containers to listen on 0.0.0.0 (its container contract), which here would open them to whoever shares
the network, past front door and IAM. A process that asks itself at localhost is led to where it then listens. So each
environment of an image runs `install` as Python starts (a .pth file: nothing is in the app's variables, and a
sitecustomize of its own still runs). It is copied there: standard library only, and nothing imported that Python's
start has not, for every process of every app pays for it.
"""

import _socket
import os
import sys

# Google reaches a container by an address of its own, at which a server on 127.0.0.1 alone does not answer. On Linux
# all of 127/8 is loopback, so it is another address of those; macOS has only the one.
INSTANCE_ADDRESS = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
LOCALHOST = "127.0.0.1"
MODULE = "_localcloud_loopback"  # its name in an image's environment

_plain_bind = _socket.socket.bind
_plain_connect = _socket.socket.connect
_plain_connect_ex = _socket.socket.connect_ex


def install() -> None:
    """From now on all sockets of Python's, the forked ones with them, listen on loopback addresses only."""
    ours = {"bind": _bind, "connect": _connect, "connect_ex": _connect_ex}
    bound = type("socket", (_socket.socket,), {"__slots__": (), **ours})
    _socket.socket = bound  # type: ignore[misc, assignment]  # what socket.socket, gevent's and others are then derived from
    if "socket" in sys.modules:  # another .pth file was first
        for name, method in ours.items():
            setattr(sys.modules["socket"].socket, name, method)


def _bind(sock: _socket.socket, address: object) -> None:
    """bind(2), to the loopback address that stands for the one asked for."""
    is_server = sock.family in (_socket.AF_INET, _socket.AF_INET6) and sock.type == _socket.SOCK_STREAM
    _plain_bind(sock, _on_loopback(sock, address) if is_server and isinstance(address, tuple) else address)  # type: ignore[arg-type]


def _connect(sock: _socket.socket, address: object) -> None:
    """connect(2), where localhost at PORT is the instance itself."""
    _plain_connect(sock, _to_itself(sock, address))  # type: ignore[arg-type]


def _connect_ex(sock: _socket.socket, address: object) -> int:
    return _plain_connect_ex(sock, _to_itself(sock, address))  # type: ignore[arg-type]


def _to_itself(sock: _socket.socket, address: object) -> object:
    """The instance's address for localhost at PORT, and not only once that has refused: a socket that does not block
    hears of it elsewhere. It misses a server on localhost alone, but so does the startup probe."""
    if sock.family != _socket.AF_INET or sock.type != _socket.SOCK_STREAM or not isinstance(address, tuple):
        return address
    is_itself = address[:1] in ((LOCALHOST,), ("localhost",)) and str(address[-1]) == os.environ.get("PORT")
    return (INSTANCE_ADDRESS, *address[1:]) if is_itself else address


def _on_loopback(sock: _socket.socket, address: tuple[object, ...]) -> tuple[object, ...]:
    """A wildcard, and any address that others could reach, becomes the instance's; loopback stays as it is."""
    host, port = address[:2]
    try:
        found = _socket.getaddrinfo(host or None, port, sock.family, sock.type, 0, _socket.AI_PASSIVE)  # type: ignore[arg-type]
    except (OSError, TypeError, ValueError):
        return address  # no address at all: bind says what is wrong with it
    resolved = str(found[0][4][0])
    if resolved == "::1" or resolved.removeprefix("::ffff:").startswith("127."):
        return address
    # Other ports are for the container's own processes, which know each other as localhost.
    mine = INSTANCE_ADDRESS if str(port) == os.environ.get("PORT") else LOCALHOST
    if sock.family == _socket.AF_INET:
        return (mine, port)
    only_6 = sock.getsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY)
    return ("::1" if only_6 else f"::ffff:{mine}", port)
