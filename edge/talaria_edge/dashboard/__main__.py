"""The server's process; started by `talaria_edge.dashboard.process`, with a listening socket's number."""

from __future__ import annotations

import asyncio
import socket
import sys

from talaria_edge.dashboard.server import serve


def main() -> None:
    """Serve on the socket that was handed over."""
    with socket.socket(fileno=int(sys.argv[1])) as listening:
        asyncio.run(serve(listening))


if __name__ == "__main__":
    main()
