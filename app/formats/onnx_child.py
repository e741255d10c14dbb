"""The program of the process that reads ONNX files: length and content in, length and JSON out, until its input ends.

It is started with its limits as arguments, sets them before it reads anything, and imports nothing that is heavy.
"""

from __future__ import annotations

import json
import math
import resource
import sys
from typing import Any, BinaryIO

import predictor

LENGTH_BYTES = 8
_OUT_OF_MEMORY = 3


def run(incoming: BinaryIO, outgoing: BinaryIO, seconds: float) -> int:
    """Answers until the input ends; the exit status."""
    while len(header := incoming.read(LENGTH_BYTES)) == LENGTH_BYTES:
        try:
            content = incoming.read(int.from_bytes(header, "little"))
            _limit_time(seconds)
            reply = json.dumps(read(content)).encode()
            del content
        except MemoryError:  # what is left of it is not known: another process goes on
            return _OUT_OF_MEMORY
        outgoing.write(len(reply).to_bytes(LENGTH_BYTES, "little") + reply)
        outgoing.flush()
    return 0


def read(content: bytes) -> dict[str, Any]:
    """`{"document": …}` of the DAG, or `{"error": …}`."""
    try:
        return {"document": predictor.architecture_from_onnx(content).to_json()}
    except predictor.PredictorError as error:
        return {"error": str(error)}
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        return {"error": f"expected an ONNX model, got one that makes no sense ({type(error).__name__})"}


def limit_process(memory_bytes: int) -> None:
    """Memory, and nothing written or opened any more."""
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, 3)


def _limit_time(seconds: float) -> None:
    """From now on; the operating system ends the process that takes longer."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    allowed = math.ceil(usage.ru_utime + usage.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bounded, bounded))


def main() -> None:
    """Arguments: bytes of memory, seconds for a file."""
    predictor.architecture_from_onnx  # noqa: B018  imported now: no file can be opened later
    limit_process(int(sys.argv[1]))
    sys.exit(run(sys.stdin.buffer, sys.stdout.buffer, float(sys.argv[2])))


if __name__ == "__main__":
    main()
