"""Bytes from one connection to another, both ways, with back pressure."""

from __future__ import annotations

import asyncio


class Relay(asyncio.Protocol):
    """One end; what arrives here leaves at `other`."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: Relay | None = None
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self._early += data
        else:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """Half-closed: the other direction goes on, where the transport can do that (TLS cannot)."""
        if self.other is not None and self.other.transport is not None and self.other.transport.can_write_eof():
            self.other.transport.write_eof()
            return self.transport is not None and self.transport.can_write_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def join(self, other: Relay) -> None:
        """Connect both ends and hand over what came meanwhile."""
        self.other, other.other = other, self
        for one in (self, other):
            early, one._early = bytes(one._early), bytearray()
            if early:
                one.data_received(early)
            if one.transport is None or one.transport.is_closing():
                one.connection_lost(None)


class Waiting(asyncio.Protocol):
    """Holds a connection until it is known who is to serve it."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ended = False
        self._lost: tuple[Exception | None] | None = None

    def data_received(self, data: bytes) -> None:
        self._data += data

    def eof_received(self) -> bool:
        self._ended = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = (exc,)

    def hand_over(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """From now on the connection is `protocol`'s, with all that arrived before."""
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._data:
            protocol.data_received(bytes(self._data))
        if self._ended:
            protocol.eof_received()
        if self._lost is not None:
            protocol.connection_lost(self._lost[0])
