"""The worker's life: limits, load, score until the daemon goes away.

Arguments: memory limit in bytes (0 is none), the parent's pid, and descriptors: the socket, the pipe that cancels batches, the
shared memory that is written and that is read.
"""

import contextlib
import hashlib
import socket
import sys
import time

import msgspec

from edge_agent.inference import protocol
from edge_agent.inference.shared_memory import SharedMemory
from edge_agent.inference.worker import sandbox
from edge_agent.inference.worker.cancelling import Cancelling
from edge_agent.inference.worker.limits import CpuAllowance, limit

_CHUNK = 1024 * 1024


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
    scorer = cancelling = cpu = None
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
                cpu = CpuAllowance(header.cpu_seconds)
                scorer = _load(connection, header)
                if scorer is None:
                    return
                cancelling = Cancelling(cancel_descriptor, scorer.cancel)
                cancelling.start()
            elif isinstance(header, protocol.Run) and scorer is not None and cancelling is not None and cpu is not None:
                cancelling.begin(header.number)
                begun = time.monotonic()
                answer, parts = scorer.answer(header, body)
                cancelling.end()
                answer = msgspec.structs.replace(answer, seconds=time.monotonic() - begun)
                connection.sendall(protocol.pack(answer, parts, memory))
                cpu.renew()
                del header, body, frame, answer, parts  # large ones would stay until the next batch comes
            else:
                raise protocol.ProtocolError(f"{type(header).__name__} is out of place")


def _load(connection: socket.socket, load: protocol.Load):  # type: ignore[no-untyped-def]
    devices = sandbox.needs_devices(load.require, load.delegates)
    in_force = sandbox.close(load.bundle, devices=devices, engine_cache=load.engine_cache)
    # Imported only now: limits and sandbox stand before numpy, and the file that it is about to read may be anyone's.
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
        sandbox=in_force,
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
