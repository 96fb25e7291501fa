"""A client that costs little: keep-alive connections to a server on this machine, all served by one thread."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
WAIT_SECONDS = 60


@dataclass(slots=True)
class Answer:
    """One request: where to, how long, how many bytes."""

    path: str
    seconds: float
    size: int
    body: bytes = b""


@dataclass(slots=True)
class _Connection:
    """A keep-alive connection with a request on its way."""

    socket: socket.socket
    path: str = ""
    started: float = 0.0
    missing: int | None = None
    """Bytes of the body still to come; None until the head is there."""
    size: int = 0
    head: bytes = b""
    body: list[bytes] = field(default_factory=list)


class Client:
    """A few connections to a server on this machine, all served by one thread."""

    def __init__(self, port: int, connections: int = 1, *, keep: bool = False) -> None:
        self.port, self.keep = port, keep
        self.selector = selectors.DefaultSelector()
        self.connections = [
            _Connection(socket.create_connection(("127.0.0.1", port), WAIT_SECONDS)) for _ in range(connections)
        ]
        for connection in self.connections:
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(connection.socket, selectors.EVENT_READ, connection)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.selector.close()
        for connection in self.connections:
            connection.socket.close()

    def run(self, paths: Iterable[str], seconds: float = float("inf")) -> list[Answer]:
        """Ask for the paths, one after the other on each connection, until they or the seconds run out."""
        waiting, answers = iter(paths), []
        ends = time.perf_counter() + seconds
        busy = sum(self._ask(connection, waiting) for connection in self.connections)
        while busy:
            ready = self.selector.select(WAIT_SECONDS)
            if not ready:
                raise RuntimeError("the server does not answer")
            for key, _ in ready:
                answer = self._read(key.data)
                if answer is None:
                    continue
                answers.append(answer)
                if time.perf_counter() > ends or not self._ask(key.data, waiting):
                    busy -= 1
        return answers

    def _ask(self, connection: _Connection, waiting: Iterator[str]) -> bool:
        path = next(waiting, None)
        if path is None:
            return False
        connection.path, connection.missing, connection.head, connection.body = path, None, b"", []
        connection.started = time.perf_counter()
        connection.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAccept: text/html\r\n\r\n".encode()
        )
        return True

    def _read(self, connection: _Connection) -> Answer | None:
        """The answer, if it is there to its end."""
        received = connection.socket.recv(1 << 18)
        if not received:
            raise RuntimeError(f"{connection.path}: the server closed the connection")
        if connection.missing is None:
            connection.head += received
            head, found, received = connection.head.partition(b"\r\n\r\n")
            if not found:
                return None
            length = LENGTH.search(head)
            if not head.startswith(b"HTTP/1.1 200") or length is None:
                raise RuntimeError(f"{connection.path}: {head.splitlines()[0].decode()}")
            connection.missing = connection.size = int(length[1])
        connection.missing -= len(received)
        if self.keep:
            connection.body.append(received)
        if connection.missing > 0:
            return None
        spent = time.perf_counter() - connection.started
        return Answer(connection.path, spent, connection.size, b"".join(connection.body))
