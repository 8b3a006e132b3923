"""The worker's life: limits, load, score until the daemon goes away.

Arguments: memory limit in bytes (0 is none), the parent's pid, and descriptors: the socket, the pipe that cancels batches, the
shared memory that is written and that is read.
"""

import contextlib
import ctypes
import hashlib
import os
import resource
import signal
import socket
import sys
import time

import msgspec

from edge_agent.inference import protocol
from edge_agent.inference.shared_memory import SharedMemory
from edge_agent.inference.worker.cancelling import Cancelling

_PR_SET_PDEATHSIG = 1
_CHUNK = 1024 * 1024
_MAX_FILES = 64


def limit(memory_bytes: int, parent: int) -> None:
    """No core dumps (they hold people's data), few descriptors, bounded memory, and no life without the daemon."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_FILES, _MAX_FILES))
    # What it writes into shared memory is no part of its address space.
    resource.setrlimit(resource.RLIMIT_FSIZE, (protocol.MAX_FRAME_BYTES, protocol.MAX_FRAME_BYTES))
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)  # the daemon ended before the line above could take effect
    # Terminal keys and the service manager's SIGTERM go to the whole group; the daemon decides when a worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def read_bundle_files(load: protocol.Load) -> "tuple[str, bytes, bytes]":
    """SHA-256 of the whole bundle in hex, the model file and the tokenizer (empty if there is none) in it.

    From one pass: what is hashed is what is loaded.
    """
    digest = hashlib.sha256()
    model, tokenizer = bytearray(), bytearray()
    wanted = [(model, load.offset, load.size)]
    if load.tokenizer is not None:
        wanted.append((tokenizer, *load.tokenizer))
    at = 0
    with open(load.bundle, "rb", buffering=0) as file:
        while True:
            chunk = file.read(_CHUNK)
            if not chunk:
                break
            digest.update(chunk)
            for content, offset, size in wanted:
                low, high = max(offset - at, 0), min(offset + size - at, len(chunk))
                if low < high:
                    content += chunk[low:high]
            at += len(chunk)
    return digest.hexdigest(), bytes(model), bytes(tokenizer)


def serve(connection: socket.socket, cancel_descriptor: int, memory: SharedMemory) -> None:
    """Answer frames until the other side closes."""
    reader = protocol.Reader(memory)
    scorer = cancelling = None
    while True:
        data = connection.recv(_CHUNK)
        if not data:
            return
        reader.feed(data)
        while True:
            frame = reader.next()
            if frame is None:
                break
            header, body = frame
            if isinstance(header, protocol.Load):
                scorer = _load(connection, header)
                if scorer is None:
                    return
                cancelling = Cancelling(cancel_descriptor, scorer.cancel)
                cancelling.start()
            elif isinstance(header, protocol.Run) and scorer is not None and cancelling is not None:
                cancelling.begin(header.number)
                begun = time.monotonic()
                answer, parts = scorer.answer(header, body)
                cancelling.end()
                answer = msgspec.structs.replace(answer, seconds=time.monotonic() - begun)
                connection.sendall(protocol.pack(answer, parts, memory))
                del header, body, frame, answer, parts  # large ones would stay until the next batch comes
            else:
                raise protocol.ProtocolError(f"{type(header).__name__} is out of place")


def _load(connection: socket.socket, load: protocol.Load):  # type: ignore[no-untyped-def]
    # Imported only now: the daemon's first frame can be read while numpy is still on its way, and limits stand before it.
    from edge_agent.inference.backends.port import BackendError
    from edge_agent.inference.worker.scoring import Scorer

    try:
        digest, model, tokenizer = read_bundle_files(load)
        if digest != load.digest:
            raise BackendError(protocol.HASH_MISMATCH, f"the stored bundle has SHA-256 {digest}, not {load.digest}")
        scorer = Scorer(load, model, tokenizer)
    except BackendError as error:
        connection.sendall(protocol.pack(protocol.Failed(reason=error.reason, detail=str(error))))
        return None
    except Exception as error:  # noqa: BLE001  a file can make a runtime raise anything, over a name that is not UTF-8 too
        reason = protocol.RUNTIME_MISSING if isinstance(error, ImportError) else protocol.LOAD_FAILED
        connection.sendall(protocol.pack(protocol.Failed(reason=reason, detail=f"{type(error).__name__}: {error}")))
        return None
    backend = scorer.backend
    ready = protocol.Ready(
        digest=digest,
        provider=backend.provider,
        placement=backend.placement,
        degraded=backend.degraded,
        runtime_version=backend.version,
    )
    connection.sendall(protocol.pack(ready))
    return scorer


def main() -> None:
    """Run the worker."""
    memory_bytes, parent, descriptor, cancels, writes, reads = (int(argument) for argument in sys.argv[1:7])
    limit(memory_bytes, parent)
    # Both errors say that the daemon is gone or has replaced this worker.
    with socket.socket(fileno=descriptor) as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        serve(connection, cancels, SharedMemory(writes, reads))


if __name__ == "__main__":
    main()
