"""A file of a data set, found in a folder or downloaded into a cache, and accepted only with the right checksum."""

import gzip
import hashlib
import os
import zlib
from pathlib import Path
from typing import NamedTuple

import pooch

from experiments.common.errors import ExperimentError
from experiments.training import distributed

DATA_DIR = "ATN_DATA_DIR"
"""Environment variable that names the folder of the data sets if the command line does not."""


class DataFile(NamedTuple):
    """One file of a data set.

    Its path below the folder of the data sets is ``folder/name``, or ``folder/name.gz`` if it is compressed.
    """

    folder: str
    name: str
    sha256: str
    """Checksum of the uncompressed content."""
    urls: tuple[str, ...]
    """Addresses of the uncompressed content, in the order in which to try them; empty if no server offers the file."""

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}"


def given_folder(data_dir: Path | None) -> Path | None:
    """Folder of the data sets: `data_dir`, otherwise the folder that ``ATN_DATA_DIR`` names, otherwise None."""
    named = os.environ.get(DATA_DIR)
    return data_dir or (Path(named) if named else None)


def obtain(file: DataFile, data_dir: Path | None) -> bytes:
    """Content of the file, read from the given folder or, without one, from the cache, into which it is downloaded.

    Parameters
    ----------
    file : DataFile
        File to read.
    data_dir : Path or None
        Folder of the data sets. None stands for the folder that ``ATN_DATA_DIR`` names or, without that, for the cache.
        Nothing is downloaded into a given folder.

    Raises
    ------
    ExperimentError
        The file is missing; the message says where to get it and where to put it. Or the file has another checksum or
        cannot be read; it is then left as it is.
    """
    folder = given_folder(data_dir)
    if folder is None:
        with distributed.main_process_first():
            if find(file, None) is None:
                _download(file, _cache())
    content = find(file, data_dir)
    if content is None:
        raise _missing(file, folder or _cache())
    return content


def find(file: DataFile, data_dir: Path | None) -> bytes | None:
    """Content of the file from the given folder or, without one, from the cache; None if it is not there.

    Raises
    ------
    ExperimentError
        The file has another checksum or cannot be read.
    """
    folder = given_folder(data_dir) or _cache()
    plain = folder / file.folder / file.name
    for path in (plain, plain.with_name(plain.name + ".gz")):
        if path.exists():
            content = _read(path, compressed=path is not plain)
            check(file, content, str(path))
            return content
    return None


def check(file: DataFile, content: bytes, where: str) -> None:
    """Check that `content`, which was found at `where`, has the checksum of the file.

    Raises
    ------
    ExperimentError
        It has another checksum; the message names both.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise ExperimentError(
            f"{where} is not the {file} that this run needs: its content has sha256 {found}, expected {file.sha256}; "
            "it was left as it is"
        )


def _read(path: Path, *, compressed: bool) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if compressed else content
    except (OSError, EOFError, zlib.error) as error:
        raise ExperimentError(f"{path} cannot be read: {error}; it was left as it is") from None


def _download(file: DataFile, folder: Path) -> None:
    """Download the file into `folder` from the first address that offers it; an interrupted download leaves no file.

    Raises
    ------
    ExperimentError
        No address offers it.
    """
    failures = []
    for url in file.urls:
        try:
            pooch.retrieve(
                url, known_hash=f"sha256:{file.sha256}", fname=file.name, path=folder / file.folder, progressbar=True
            )
        except (OSError, ValueError) as error:  # no network, no such page, or another checksum
            failures.append(f"{url}: {error}")
        else:
            return
    raise ExperimentError("; ".join([str(_missing(file, folder)), *failures]))


def _missing(file: DataFile, folder: Path) -> ExperimentError:
    """The error for a missing file, which says where to get it and where to put it."""
    source = f"fetch it from {' or '.join(file.urls)}" if file.urls else "no server offers it"
    return ExperimentError(
        f"{file} is missing: {source}, and put it at {folder / file.folder / file.name}, plain or with .gz after its "
        f"name (sha256 of the content {file.sha256}); --data-dir and {DATA_DIR} name another folder than {folder}"
    )


def _cache() -> Path:
    return Path(pooch.os_cache("atn"))
