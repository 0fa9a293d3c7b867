"""Connections of the server: uvicorn's protocol, with limits on the time that a client may cost the event loop."""

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

HEAD = 8192  # maximum size of request line and headers in bytes
_READ = (1024, 16_384)  # bytes read from a connection at once: at first, and at most
_SLOW = 0.001  # seconds of event-loop time that such bytes may cost before the connection is paused
_REST = 60  # times as long
_TURNS = 2  # number of bodies that are read per iteration of the event loop
_GRACE = 1.0  # seconds for the first request of a new connection if there are too many


class _Connections:
    """State shared by the connections of a server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.open: dict[Connection, None] = {}  # oldest first
        self._turns: deque[Connection] = deque()  # connections whose bodies are incomplete
        self._rested = 0.0  # event-loop time at which the next expensive connection is read again

    def rest(self, connection: Connection, cost: float) -> None:
        """Resumes the connection after a pause of a multiple of its cost, and after those paused before it."""
        self._rested = max(self._rested, connection.loop.time()) + cost * _REST
        connection.loop.call_at(self._rested, self.queue, connection)

    def queue(self, connection: Connection) -> None:
        """Queues a connection to be read."""
        self._turns.append(connection)
        if len(self._turns) == 1:
            connection.loop.call_soon(self._next_turns, connection.loop)

    def _next_turns(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(min(len(self._turns), _TURNS)):
            self._turns.popleft().read_on()
        if self._turns:
            loop.call_soon(self._next_turns, loop)

    def make_room(self, newest: Connection) -> None:
        """If there are too many connections, closes the oldest idle one, or the newest if none is idle."""
        if len(self.open) > self.limits.connections:
            late = newest.since - _GRACE
            next((other for other in self.open if other.idle() and other.since < late), newest).end()


class Connection(H11Protocol):
    """A connection of a server; `connection` creates its class.

    - Bodies are read in turns, a few pieces per iteration of the event loop, so that requests without a body do not
    wait for them.
    - The cost of a connection's bytes is measured. If they are expensive to parse (a body in one-byte chunks), the
    connection is paused for a multiple of that time; such connections are resumed one at a time.
    - A connection beyond the limit closes the oldest one without a pending request.
    - A client must send the headers of a request, and read its response, within `limits.seconds`. Connections are
    checked twice in that time; one that waits for the same thing at the third check is closed.
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
        if self.cycle is not None and self.cycle.more_body:  # also for a request that was already refused
            transport.pause_reading()
            self._all.queue(self)

    def read_on(self) -> None:
        """Called when it is this connection's turn."""
        if not self.flow.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn closes the connection
        """A client that only closes its sending side still gets its response."""
        waiting = not self.idle() and not self.cycle.more_body
        if waiting:
            self.cycle.keep_alive = False
        return waiting

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:  # already answered
            self.transport.close()

    def idle(self) -> bool:
        """Whether it has no pending request."""
        return self.cycle is None or self.cycle.response_complete

    def end(self) -> None:
        """Closes at once, discarding data that was not sent yet."""
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
    """Creates the connection class of one server."""
    return type("Connection", (Connection,), {"_all": _Connections(limits)})
