"""A file of a data set: found in a folder or downloaded once into a cache, and accepted by its checksum alone."""

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
"""Environment variable that names the folder of the data sets where the command line does not."""


class DataFile(NamedTuple):
    """One file of a data set.

    Below the folder of the data sets it stands at ``folder/name``, or compressed at ``folder/name.gz``.
    """

    folder: str
    name: str
    sha256: str
    """Of the content of ``folder/name``, that is without the compression of a ``name.gz``."""
    urls: tuple[str, ...]
    """Places that have the content of ``folder/name``, in the order in which to try them; none for what nobody offers
    by itself."""

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}"


def given_folder(data_dir: Path | None) -> Path | None:
    """Folder of the data sets: `data_dir`, else what ``ATN_DATA_DIR`` names, else None for downloads."""
    named = os.environ.get(DATA_DIR)
    return data_dir or (Path(named) if named else None)


def obtain(file: DataFile, data_dir: Path | None) -> bytes:
    """Content of the file, from the given folder, or without one from the cache, into which it is downloaded once.

    Parameters
    ----------
    file : DataFile
        Which file.
    data_dir : Path or None
        Folder of the data sets; None for the one that ``ATN_DATA_DIR`` names, or else for downloads. A folder that is
        given is only read: what is missing there is not downloaded.

    Raises
    ------
    ExperimentError
        If it is missing, saying what to fetch, from where, and where to put it; if there is one with another checksum
        or one that cannot be read, which is left alone.
    """
    folder = given_folder(data_dir)
    if folder is None:
        with distributed.leader_first():
            if find(file, None) is None:
                _download(file, _cache())
    content = find(file, data_dir)
    if content is None:
        raise _missing(file, folder or _cache())
    return content


def find(file: DataFile, data_dir: Path | None) -> bytes | None:
    """Content of the file where it is at hand, in the given folder or else in the cache; None where it is not.

    Raises
    ------
    ExperimentError
        As `obtain`.
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
    """Check that `content`, which `where` has, is the file's.

    Raises
    ------
    ExperimentError
        Naming both checksums.
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
    """Put the file into `folder` from the first place that has it; an interrupted download leaves nothing behind.

    Raises
    ------
    ExperimentError
        If no place has it.
    """
    failures = []
    for url in file.urls:
        try:
            pooch.retrieve(
                url, known_hash=f"sha256:{file.sha256}", fname=file.name, path=folder / file.folder, progressbar=True
            )
        except (OSError, ValueError) as error:  # no network, no such page, another content
            failures.append(f"{url}: {error}")
        else:
            return
    raise ExperimentError("; ".join([str(_missing(file, folder)), *failures]))


def _missing(file: DataFile, folder: Path) -> ExperimentError:
    """What to fetch, from where, and where to put it."""
    source = f"fetch it from {' or '.join(file.urls)}" if file.urls else "nobody offers it by itself"
    return ExperimentError(
        f"{file} is missing: {source}, and put it at {folder / file.folder / file.name}, plain or with .gz after its "
        f"name (sha256 of the content {file.sha256}); --data-dir and {DATA_DIR} name another folder than {folder}"
    )


def _cache() -> Path:
    return Path(pooch.os_cache("atn"))
