"""Long files made durable: written around the page cache where the file system can (O_DIRECT)."""

from __future__ import annotations

import errno
import mmap
import os
import threading

from shared.volume.posix import write_directly

_BLOCK = 4096  # what O_DIRECT asks of lengths, offsets and memory; where it asks for more, the kernel refuses
_BUFFER = 2 << 20  # bytes; a page-aligned copy of what is written next

_buffer: mmap.mmap | None = None  # made with the first long file
_in_use = threading.Lock()


def create_durable(path: str, content: bytes) -> None:
    """Make a file whose content is durable when this returns; its name is once the folder is synced.

    Through the page cache, the kernel would copy the content page by page and write it back later. That takes several
    times the processor time, and the sync waits for it.

    Raises:
        OSError: the file exists, or cannot be written or synced whole; then it is removed.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        written = _write_blocks(fd, content)
        with memoryview(content) as view:
            while written < len(content):  # what is no whole block, or all of it
                written += os.pwrite(fd, view[written:], written)
        os.fdatasync(fd)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(fd)


def _write_blocks(fd: int, content: bytes) -> int:
    """Write whole blocks around the page cache, as many as the file system takes; the bytes written."""
    global _buffer
    whole = len(content) // _BLOCK * _BLOCK
    written = 0
    try:
        if whole:
            write_directly(fd, True)
        with _in_use, memoryview(content) as view:
            while written < whole:
                if _buffer is None:
                    _buffer = mmap.mmap(-1, _BUFFER)
                length = min(_BUFFER, whole - written)
                _buffer[:length] = view[written : written + length]
                with memoryview(_buffer) as aligned:
                    done = os.pwrite(fd, aligned[:length], written)
                written += done
                if done < length:  # the disk is full, which the next write says
                    break
    except OSError as error:
        if error.errno != errno.EINVAL:  # this file system, or its disk, cannot
            raise
    finally:
        write_directly(fd, False)
    return written
