"""A wire that breaks: hands TCP connections on, and cuts each after so many bytes of the answers."""

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

PIECE_BYTES = 4_096


class Cutting:
    """`url` leads to the other one; `cuts` says how many connections broke, `sent` how many bytes came."""

    def __init__(self, url: str, after_bytes: int) -> None:
        there = urlsplit(url)
        self._there = (there.hostname or "", there.port or 80)
        self._after = after_bytes
        self._listening = socket.create_server(("127.0.0.1", 0))
        name = "127.0.0.1" if there.scheme == "http" else there.hostname
        self.url = f"{there.scheme}://{name}:{self._listening.getsockname()[1]}"
        self.cuts = self.sent = 0

    def __enter__(self) -> "Cutting":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listening.accept()
                there = socket.create_connection(self._there)
                threading.Thread(target=self._ask, args=(here, there), daemon=True).start()
                threading.Thread(target=self._answer, args=(here, there), daemon=True).start()

    def _ask(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while piece := here.recv(PIECE_BYTES):
                there.sendall(piece)

    def _answer(self, here: socket.socket, there: socket.socket) -> None:
        left = self._after
        with suppress(OSError):
            while left and (piece := there.recv(min(PIECE_BYTES, left))):
                here.sendall(piece)
                left -= len(piece)
                self.sent += len(piece)
            if not left:
                self.cuts += 1
                # As a cable does it that is pulled out: by a reset, not by an end.
                here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for each in (here, there):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RD)
            each.close()
