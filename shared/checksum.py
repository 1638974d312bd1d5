"""CRC-32, as zlib has it, of all that is stored; ISA-L takes a tenth of zlib's time, and every segment passes here."""

from __future__ import annotations

from isal import isal_zlib

crc32_of = isal_zlib.crc32
"""The CRC-32 of a buffer; a second argument is that of what stands before it. Above 5 kB it lets other threads run."""
