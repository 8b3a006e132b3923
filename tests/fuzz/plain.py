"""A seeded random mutator, for where atheris has no wheel: it finds less, and the same seed gives the same inputs."""

import hashlib
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final

MAX_BYTES: Final = 20_000
TOKENS: Final = (
    *(b"null", b"true", b"NaN", b"1e400", b"-0", b"1" * 400, b'"\\ud800"', b"[]", b"{}", b"[[[[", b'{"":', b"\\u0000"),
    *(b"\xff" * 4, b"\x00", b"\x80", b"\x9f", b"\xbf", b"\x9b" + b"\xff" * 8, b"\xdd\xff\xff\xff\xff"),
    *(b"\xc4\x82\x1a\x7f\xff\xff\xff\x01", b"\x12\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\x00\x00\xc0\x7f", b"\xef\xbb\xbf"),
)


def mutate(
    random: Random, seed: bytes, corpus: Sequence[bytes], tokens: Sequence[bytes] = TOKENS, longest: int = MAX_BYTES
) -> bytes:
    """A seed with a few changes; some are pieces of others of the corpus, or `tokens`."""
    data = bytearray(seed)
    for _ in range(random.randint(1, 4)):
        start = random.randint(0, len(data))
        end = min(len(data), start + random.choice((1, 1, 2, 4, 16, 64)))
        kind = random.randrange(6)
        if kind == 0 and start < len(data):
            data[start] = random.randrange(256)
        elif kind == 1:
            del data[start:end]
        elif kind == 2:
            data[start:end] = random.choice(tokens)
        elif kind == 3:
            data[start:start] = data[start:end] * random.choice((1, 2, 50))
        elif kind == 4:
            other = random.choice(corpus)
            cut = random.randint(0, len(other))
            data[start:end] = other[cut : cut + random.choice((1, 8, 64, 512))]
        else:
            data[start:end] = random.randbytes(end - start)
    return bytes(data[:longest])


def run(target: Callable[[bytes], None], corpus: list[bytes], seconds: float, seed: int, prefix: str) -> int:
    """Try inputs for some seconds; 1, and a file `{prefix}crash-…`, after the first that the target raises for."""
    random = Random(seed)
    end = time.monotonic() + seconds
    pending = list(corpus)
    while time.monotonic() < end:
        data = pending.pop() if pending else mutate(random, random.choice(corpus), corpus)
        try:
            target(data)
        except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
            path = Path(f"{prefix}crash-{hashlib.sha256(data).hexdigest()[:16]}")
            path.write_bytes(data)
            traceback.print_exc()
            sys.stderr.write(f"written to {path}\n")
            return 1
    return 0
