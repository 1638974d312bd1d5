"""The stager process: makes files of payloads in a spool. It imports next to nothing, to start soon and stay small.

A request on standard input: the lengths of two paths and the number of payloads, as three 32-bit numbers; the path of
the spool, and what the name of each file begins with; then the offset of the first payload and the length of each, as
64-bit numbers. A file's name ends in its payload's offset. The reply on standard output is a byte for each payload: 0,
or the `errno` of the failure; nothing is left of that file. The process ends with its input.
"""

import errno
import os
import signal
import struct


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: ingest finishes first
    path, spool = b"", -1
    while head := _read(12):
        lengths = struct.unpack("<III", head)
        wanted, stem = _read(lengths[0]), _read(lengths[1])
        at, *sizes = struct.unpack(f"<{lengths[2] + 1}Q", _read(8 * lengths[2] + 8))
        if wanted != path:
            if spool >= 0:
                os.close(spool)
            path, spool = wanted, os.open(wanted, os.O_RDONLY | os.O_NOFOLLOW)
        reply = bytearray()
        for size in sizes:
            try:
                _make(b"%s%d" % (stem, at), spool, at, size)
                reply.append(0)
            except OSError as error:
                reply.append(min(error.errno or errno.EIO, 255))
            at += size
        os.write(1, reply)


def _make(name: bytes, spool: int, at: int, size: int) -> None:
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        payload = memoryview(os.pread(spool, size, at))
        if len(payload) < size:
            raise OSError(errno.EIO, "the spool is shorter")
        while payload:
            payload = payload[os.write(file, payload) :]
    except OSError:
        os.unlink(name)
        raise
    finally:
        os.close(file)


def _read(length: int) -> bytes:
    data = b""
    while len(data) < length:
        if not (more := os.read(0, length - len(data))):
            return b""
        data += more
    return data


if __name__ == "__main__":
    main()
