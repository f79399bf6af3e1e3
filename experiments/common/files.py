"""Files that are either whole or not there: written beside their place, synced, then renamed into it."""

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`; whatever happens meanwhile, `path` holds the old content or the new, never a mixture.

    Raises
    ------
    OSError
        Of the write; the old file stands and the partial one is gone.
    """
    _replace(write_aside(path, content), path)
    sync_folder(path.parent)


def write_aside(path: Path, content: bytes) -> Path:
    """Write `content` durably to ``<path>.tmp``, which this returns, for a later rename.

    Raises
    ------
    OSError
        Of the write; the partial file is gone.
    """
    partial = path.with_name(path.name + ".tmp")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    return partial


def append_durably(path: Path, content: bytes) -> None:
    """Append `content` to `path`, all of it or nothing unless the process is killed meanwhile.

    Raises
    ------
    OSError
        Of the write; the file has its old length.
    """
    # Unbuffered: a buffer would be flushed once more on closing, after the file was cut back.
    with path.open("ab", buffering=0) as file:
        length = file.tell()
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), length)
            raise


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError:
        source.unlink(missing_ok=True)
        raise
