"""The connections of a server: uvicorn's protocol with bounds on what a client costs the event loop."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from yolort.serve.limits import Limits

HEAD = 8192  # bytes of the head of a request
_READ = (1024, 16_384)  # bytes that are read from a connection at once, at first and at most
_SLOW = 0.001  # seconds of the event loop that such bytes may cost; the connection then rests
_REST = 60  # times as long
_TURNS = 2  # bodies that are read in one round of the event loop
_GRACE = 1.0  # seconds that a new connection has for its first request when there are too many


class _Connections:
    """State shared by the connections of a server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.open: dict[Connection, None] = {}  # oldest first
        self._turns: deque[Connection] = deque()  # in the middle of their bodies
        self._rested = 0.0  # the event loop's time at which the next expensive connection is read on

    def rest(self, connection: Connection, cost: float) -> None:
        """Reads the connection again once this one, and those before it, have rested for a multiple of the cost."""
        self._rested = max(self._rested, connection.loop.time()) + cost * _REST
        connection.loop.call_at(self._rested, self.queue, connection)

    def queue(self, connection: Connection) -> None:
        """Queues a connection for its turn to be read."""
        self._turns.append(connection)
        if len(self._turns) == 1:
            connection.loop.call_soon(self._next_turns, connection.loop)

    def _next_turns(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(min(len(self._turns), _TURNS)):
            self._turns.popleft().read_on()
        if self._turns:
            loop.call_soon(self._next_turns, loop)

    def make_room(self, newest: Connection) -> None:
        """Ends the oldest connection that has no request in the server, or the newest, if there are too many."""
        if len(self.open) > self.limits.connections:
            late = newest.since - _GRACE
            next((other for other in self.open if other.idle() and other.since < late), newest).end()


class Connection(H11Protocol):
    """A connection; `connection` makes the class of a server.

    - Bodies are read in turns, a few pieces in each round of the event loop: requests without one do not wait for them.
    - What a connection's bytes cost is measured. If they are expensive to parse (a body in chunks of one byte), it is
      read again after a multiple of that time, and one such connection after the other.
    - A connection beyond the limit ends the oldest that has no request in the server.
    - A client must send the head of a request, and read its answer, within `limits.seconds`. Connections are looked at
      twice in that time: one that waits for the same in the third look is ended.
    """

    _all: ClassVar[_Connections]

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.max_size = _READ[0]
        self._all.open[self] = None
        self.since = time.monotonic()
        self._all.make_room(self)
        self._seen: tuple[object, int] | None = None
        self._look = self.loop.call_later(self._all.limits.seconds / 2, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.open.pop(self, None)
        self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        start = time.thread_time()
        super().data_received(data)
        cost = time.thread_time() - start
        transport: Any = self.transport
        if cost > _SLOW:
            transport.max_size = _READ[0]
            transport.pause_reading()
            self._all.rest(self, cost)
            return
        transport.max_size = min(2 * transport.max_size, _READ[1])
        if self.cycle is not None and self.cycle.more_body:  # also of a request that is refused already
            transport.pause_reading()
            self._all.queue(self)

    def read_on(self) -> None:
        """Its turn has come."""
        if not self.flow.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn closes the connection
        """A client that only stops sending gets its answer."""
        waiting = not self.idle() and not self.cycle.more_body
        if waiting:
            self.cycle.keep_alive = False
        return waiting

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:  # it is answered already
            self.transport.close()

    def idle(self) -> bool:
        """Whether it has no request in the server."""
        return self.cycle is None or self.cycle.response_complete

    def end(self) -> None:
        """At once, with what the kernel still holds for the client."""
        self._all.open.pop(self, None)
        self.connections.discard(self)
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _check(self) -> None:
        unread = self.transport.get_write_buffer_size() > 0
        working = not self.idle() and not unread
        before, times = self._seen or (None, 0)
        now = (id(self.cycle), unread)
        self._seen = None if working else (now, times + 1 if before == now else 0)
        if self._seen is not None and self._seen[1] >= 2:
            self.end()
        else:
            self._look = self.loop.call_later(self._all.limits.seconds / 2, self._check)


def connection(limits: Limits) -> type[Connection]:
    """The class of the connections of one server."""
    return type("Connection", (Connection,), {"_all": _Connections(limits)})
