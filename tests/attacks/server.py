"""The controller's HTTP server as an attacker would have it: any file may be another, and any may never end."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Server:
    """Serves a folder below `/artifacts/`. Names are paths below it."""

    def __init__(self, folder: Path) -> None:
        outer = self
        self.instead: dict[str, bytes] = {}
        """Served in place of the file."""
        self.endless: set[str] = set()
        """Served without an end."""
        self.frozen: dict[str, bytes] | None = None
        """All that is served of the metadata, if it is not None."""

        self.requests: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.removeprefix("/artifacts/")
                outer.requests.append(name)
                if any(name.endswith(each) for each in outer.endless):
                    self.send_response(200)
                    self.end_headers()
                    self._send(iter(lambda: b" " * 65536, None))
                    return
                data = outer.find(folder, name)
                if data is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self._send(iter([data]))

            def _send(self, chunks: Iterator[bytes]) -> None:
                self.close_connection = True
                try:
                    for chunk in chunks:
                        self.wfile.write(chunk)
                except OSError:
                    return

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="artifacts")
        self._thread.start()

    def find(self, folder: Path, name: str) -> bytes | None:
        """What is answered; None: there is no such file."""
        if name in self.instead:
            return self.instead[name]
        if self.frozen is not None and name.startswith("metadata/"):
            return self.frozen.get(name.removeprefix("metadata/"))
        file = folder / name
        return file.read_bytes() if file.is_file() else None

    def be_honest(self) -> None:
        """Serve what is there."""
        self.instead.clear()
        self.endless.clear()
        self.frozen = None

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
