"""Finds damaged queue files of the Collector, and sets them aside before it starts.

A damaged file ends the Collector at every start: its setting ``recreate`` covers only few kinds of
damage (contrib issue 36840). This is meant for the moment before each start:
``python -m three_pillar_demo.stack.queue_files FOLDER``.

The files are databases of bbolt (``go.etcd.io/bbolt``, version 2 of its format): pages in a B+ tree
below the newer of two meta pages. All numbers are little-endian. Only the structure is verified,
because bbolt has no checksums of its content.

A running Collector holds a lock (``flock``) on each of its files. Such a file is left alone: while
it is being written, an intact file may look damaged, and the Collector would go on to write to the
file under its new name. ``docker compose run`` and a second ``docker compose up`` start this check
beside a running Collector.
"""

import fcntl
import mmap
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATTERN = "exporter_*"
"""The names of the queue files, as the Collector's file_storage extension makes them."""
ASIDE = ".damaged-"
PAGE_HEADER = struct.Struct("<QHHI")
"""Page number, type, number of elements, number of further pages that belong to this one."""
META = struct.Struct("<IIIIQQQQQ")
"""Magic number, version, page size, flags, root page, sequence, free list, page count, time."""
BRANCH_ELEMENT = struct.Struct("<IIQ")
"""Position of the key relative to the element, size of the key, page number."""
LEAF_ELEMENT = struct.Struct("<IIII")
"""Flags, position of the key relative to the element, size of the key, size of the value."""
MAGIC = 0xED0CDAED
VERSION = 2
BRANCH = 1
LEAF = 2
BUCKET_FLAG = 1
FNV_OFFSET = 0xCBF29CE484222325
FNV_PRIME = 0x100000001B3
MIN_PAGE_BYTES = 1024
MAX_PAGE_BYTES = 2**20


class DamagedError(Exception):
    """The file is no complete database; the message says what is wrong."""


def main(folder: Path) -> None:
    """Set the damaged queue files in ``folder`` aside, and print one line for each."""
    for path, reason in set_damaged_aside(folder):
        sys.stdout.write(f"{report(path, reason)}\n")


def report(path: Path, reason: str) -> str:
    """Return the message on a damaged file, which is now at ``path``."""
    return (
        f"the Collector's queue was damaged ({reason}) and is kept as {path}; "
        "the Collector starts with an empty one"
    )


def set_damaged_aside(folder: Path) -> list[tuple[Path, str]]:
    """Rename each damaged queue file in ``folder``; return the new paths, each with a reason.

    A file that a running Collector uses is left alone. A folder that does not exist has no queue
    files.

    Raises:
        OSError: A file cannot be read or renamed.
    """
    renamed = []
    for path in sorted(folder.glob(PATTERN)):
        if ASIDE in path.name or path.suffix == ".backup":
            continue
        with locked(path) as unused:
            if not unused:
                continue
            try:
                verify(path)
            except DamagedError as error:
                aside = path.with_name(
                    f"{path.name}{ASIDE}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
                )
                path.rename(aside)
                renamed.append((aside, str(error)))
    return renamed


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Lock a queue file until the end of the block; the value is False if a Collector uses it.

    A Collector that starts meanwhile waits up to 1 s for the lock. What is no file is not locked.

    Raises:
        OSError: The file cannot be opened or locked.
    """
    if not path.is_file():
        yield True
        return
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def verify(path: Path) -> None:
    """Verify the structure of a queue file. An empty file is a new one, and complete.

    Raises:
        DamagedError: The structure is not complete.
        OSError: The file cannot be read.
    """
    if not path.is_file():
        raise DamagedError("it is no file")
    if path.stat().st_size == 0:
        return
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        Pages(content).verify()


class Pages:
    """The pages of a database."""

    def __init__(self, content: mmap.mmap) -> None:
        """Take the content of a file.

        Raises:
            DamagedError: It has no valid meta page, or is shorter than its pages.
        """
        self.content = content
        metas = [meta for meta in self._metas() if meta]
        if not metas:
            raise DamagedError("it has no valid meta page")
        _time, self.page_bytes, self.root, page_count = max(metas)
        self.bytes = page_count * self.page_bytes
        if self.bytes > len(content):
            raise DamagedError(f"it has {len(content)} bytes instead of {self.bytes}")

    def _metas(self) -> list[tuple[int, int, int, int] | None]:
        """Return both meta pages, the second for each possible page size."""
        sizes = [2**power for power in range(10, 21)]
        return [self._meta(0, None), *(self._meta(size, size) for size in sizes)]

    def _meta(self, offset: int, page_bytes: int | None) -> tuple[int, int, int, int] | None:
        """Return time, page size, root page and page count of a meta page if it is valid."""
        begin = offset + PAGE_HEADER.size
        end = begin + META.size
        if end + 8 > len(self.content):
            return None
        packed = self.content[begin:end]
        checksum = int.from_bytes(self.content[end : end + 8], "little")
        magic, version, size, _, root, _, _, page_count, transaction = META.unpack(packed)
        if (magic, version) != (MAGIC, VERSION) or checksum != fnv1a(packed):
            return None
        if size != (page_bytes or size) or not MIN_PAGE_BYTES <= size <= MAX_PAGE_BYTES:
            return None
        return transaction, size, root, page_count

    def verify(self) -> None:
        """Verify every page that belongs to the tree.

        Raises:
            DamagedError: A page is not what its parent says.
        """
        seen = {0, 1}
        pending = [self.root]
        while pending:
            number = pending.pop()
            if number in seen:
                raise DamagedError(f"page {number} is damaged")
            seen.add(number)
            pending += self._children(number)

    def _children(self, number: int) -> list[int]:
        """Return the numbers of the pages below the page ``number``, which is verified."""
        begin = number * self.page_bytes
        if begin + self.page_bytes > self.bytes:
            raise DamagedError(f"page {number} is damaged")
        own_number, kind, count, further = PAGE_HEADER.unpack_from(self.content, begin)
        end = begin + (1 + further) * self.page_bytes
        if own_number != number or kind not in {BRANCH, LEAF} or end > self.bytes:
            raise DamagedError(f"page {number} is damaged")
        element_bytes = LEAF_ELEMENT.size  # An element of a branch is as large.
        first = begin + PAGE_HEADER.size
        if first + count * element_bytes > end or (kind == BRANCH and count == 0):
            raise DamagedError(f"page {number} is damaged")
        children = []
        last_key = b""
        for offset in range(first, first + count * element_bytes, element_bytes):
            if kind == BRANCH:
                position, key_bytes, child = BRANCH_ELEMENT.unpack_from(self.content, offset)
                flags = 0
                value_bytes = 0
                children.append(child)
            else:
                flags, position, key_bytes, value_bytes = LEAF_ELEMENT.unpack_from(
                    self.content, offset
                )
            value = offset + position + key_bytes
            if value + value_bytes > end:
                raise DamagedError(f"page {number} is damaged")
            key = self.content[offset + position : value]
            if key < last_key:
                raise DamagedError(f"page {number} is damaged")
            last_key = key
            if flags & BUCKET_FLAG:
                root = int.from_bytes(self.content[value : value + 8], "little")
                children += [root] if root else []
        return children


def fnv1a(text: bytes) -> int:
    """Return the 64-bit FNV-1a hash of ``text``."""
    digest = FNV_OFFSET
    for byte in text:
        digest = ((digest ^ byte) * FNV_PRIME) % 2**64
    return digest


if __name__ == "__main__":
    main(Path(sys.argv[1]))
