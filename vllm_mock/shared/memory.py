"""Anonymous files in memory, which workers inherit from the master."""

import os
import tempfile


def anonymous_file(name: str, size: int = 0) -> int:
    """The descriptor of a file in memory, or of a nameless one where there are none; `size` bytes, all zero."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create(name)
    else:
        with tempfile.TemporaryFile() as nameless:
            file = os.dup(nameless.fileno())
    os.ftruncate(file, size)
    return file
