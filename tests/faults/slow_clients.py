"""Clients that are slow with intent, for a test of how others fare: `python -m tests.faults.slow_clients`.

A third never ends its headers, a third never ends its body, a third never reads its answer to the end. Each
that is thrown out comes again. A process of its own, so that it takes nothing from who measures.
"""

import argparse
import asyncio
import socket
import ssl
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

PAUSE_SECONDS = 0.5
BODY_BYTES = 2**20


@dataclass
class Place:
    """Where they go: `upload` and `large` are paths, to write and to read at."""

    host: str
    port: int
    trust: ssl.SSLContext | None
    upload: str
    large: str


class Crowd:
    def __init__(self, place: Place) -> None:
        self.place = place
        self.held: Counter[str] = Counter()
        self.thrown_out: Counter[str] = Counter()

    async def stay(self, kind: str) -> None:
        behave = {"headers": self.headers, "bodies": self.bodies, "readers": self.readers}[kind]
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                plain = socket.create_connection((self.place.host, self.place.port))
                if kind == "readers":  # what it takes in by itself is little
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                plain.setblocking(False)
                reader, writer = await asyncio.open_connection(
                    sock=plain,
                    ssl=self.place.trust,
                    server_hostname="localhost" if self.place.trust else None,
                    limit=2_048,
                )
                self.held[kind] += 1
                try:
                    await behave(reader, writer)
                finally:
                    self.held[kind] -= 1
                    self.thrown_out[kind] += 1
                    writer.close()
            await asyncio.sleep(PAUSE_SECONDS)

    def line(self, method: str, path: str) -> bytes:
        return f"{method} {path} HTTP/1.1\r\nHost: localhost:{self.place.port}\r\n".encode()

    async def headers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.line("GET", "/help/"))
        while not reader.at_eof():
            writer.write(b"X-More: yes\r\n")
            await writer.drain()
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), PAUSE_SECONDS)

    async def bodies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.line("PUT", self.place.upload) + f"Content-Length: {BODY_BYTES}\r\n\r\n".encode())
        while not reader.at_eof():
            writer.write(b"more")
            await writer.drain()
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), PAUSE_SECONDS)

    async def readers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.line("GET", self.place.large) + b"\r\n")
        await writer.drain()
        while await reader.read(256):
            await asyncio.sleep(PAUSE_SECONDS)


async def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("host", "upload", "large"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--trust", help="a certificate; without it, no TLS")
    told = parser.parse_args()
    trust = ssl.create_default_context(cafile=told.trust) if told.trust else None
    upload, large = (
        urlsplit(url)._replace(scheme="", netloc="").geturl() for url in (told.upload, told.large)
    )
    crowd = Crowd(Place(told.host, told.port, trust, upload, large))
    kinds = ["headers", "bodies", "readers"]
    staying = [asyncio.create_task(crowd.stay(kinds[number % 3])) for number in range(told.count)]
    while True:
        await asyncio.sleep(0.2)
        assert not any(each.done() for each in staying), [each.exception() for each in staying if each.done()]
        print(sum(crowd.held.values()), dict(crowd.held), dict(crowd.thrown_out), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
