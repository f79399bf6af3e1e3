"""The build of the compiled operators: once per machine, whole or not at all, and named after all that it depends on.

The builds of these tests compile an empty stand-in for the operators, in a second instead of 45; that the operators
themselves can be built is what every other test of the fused backend shows.
"""

import re
import shutil
from pathlib import Path

import pytest
import torch

from atn.backend.fused import build
from tests.support.processes import USE, script

REASON = "from atn.backend.fused.build import compiled; print(compiled().reason)"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A copy of the cache with the finished build of the operators in it."""
    assert build.compiled().operators is not None, build.compiled().reason
    name = f"atn_compiled_{build._digest(torch.backends.cpu.get_cpu_capability())}"
    shutil.copytree(build.cache_folder() / name, tmp_path / name)
    return tmp_path / name


def checkout(folder: Path) -> Path:
    """A copy of the library with a stand-in for its operators."""
    shutil.copytree(build.SOURCES.parents[2], folder / "atn", ignore=shutil.ignore_patterns("csrc", "__pycache__"))
    sources = folder / "atn" / build.SOURCES.relative_to(build.SOURCES.parents[2])
    sources.mkdir()
    (sources / "ops.cpp").write_text('extern "C" int stand_in() { return 1; }\n')
    return folder


def reasons(*checkouts: Path, cache: Path) -> list[tuple[str, str]]:
    """Standard output and error of processes that start together and load the operators of these checkouts."""
    environment = {"TORCH_EXTENSIONS_DIR": str(cache)}
    processes = [script(REASON, PYTHONPATH=str(folder), **environment) for folder in checkouts]
    printed = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(checkouts), printed
    return printed


def test_without_a_compiler_a_plain_loop_serves(tmp_path: Path) -> None:
    process = script(USE, TORCH_EXTENSIONS_DIR=str(tmp_path), CXX=str(tmp_path / "no-such-compiler"))
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "a loop of plain PyTorch operations (not compiled: " in out


def test_a_build_is_made_once_and_again_only_if_it_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = checkout(tmp_path / "first"), checkout(tmp_path / "second")
    cache = tmp_path / "cache"
    monkeypatch.setattr(build, "SOURCES", first / "atn" / build.SOURCES.relative_to(build.SOURCES.parents[2]))
    folder = cache / f"atn_compiled_{build._digest(torch.backends.cpu.get_cpu_capability())}"
    folder.mkdir(parents=True)

    # Two that start together: one of them builds, although a killed build of torch has left its lock.
    (folder / "lock").touch()
    printed = reasons(first, first, cache=cache)
    assert all(out.startswith("compiled for ") for out, _ in printed), printed
    assert sum(err.count("compiling the fused backend") for _, err in printed) == 1, printed

    # Another checkout with the same sources, which ninja would take for others: nothing is overwritten.
    (library,) = folder.glob("*.so")
    built = library.stat()
    ((out, err),) = reasons(second, cache=cache)
    assert (out.startswith("compiled for "), err) == (True, "")
    assert (library.stat().st_mtime_ns, library.stat().st_ino) == (built.st_mtime_ns, built.st_ino)

    # Cut short. To map a library that is shorter than its headers say would end the process by SIGBUS.
    whole = library.read_bytes()
    library.write_bytes(whole[: len(whole) // 2])
    with library.open("rb"):  # so that the file system cannot give its number to the new file
        ((out, err),) = reasons(first, cache=cache)
        assert library.stat().st_ino != built.st_ino
    assert (out.startswith("compiled for "), "compiling the fused backend" in err) == (True, True), (out, err)
    assert build._is_whole(library, folder / "complete")
    ((out, err),) = reasons(first, cache=cache)
    assert (out.startswith("compiled for "), err) == (True, "")


@pytest.mark.parametrize("mark", [b"", b"12 abc\n", b"\xff\xfe"])
def test_a_folder_is_complete_only_with_the_fingerprint_of_its_library(cache: Path, mark: bytes) -> None:
    (library,) = cache.glob("*.so")
    complete = cache / "complete"
    assert build._is_whole(library, complete)
    complete.write_bytes(mark)
    assert not build._is_whole(library, complete)
    complete.unlink()
    assert not build._is_whole(library, complete)
    library.unlink()
    assert not build._is_whole(library, complete)


def test_every_source_of_the_operators_changes_the_name_of_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change in any file that the compiler reads of them, directly or by an include, and in what it is built for."""
    sources = tmp_path / "csrc"
    shutil.copytree(build.SOURCES, sources)
    monkeypatch.setattr(build, "SOURCES", sources)
    digest = build._digest("AVX2")
    names, unread = {"ops.cpp"}, ["ops.cpp"]
    while unread:
        included = set(re.findall(r'^#include "(.+)"$', (sources / unread.pop()).read_text(), re.MULTILINE))
        unread += sorted(included - names)
        names |= included
    assert names == {path.name for path in sources.iterdir()}
    for path in sources.iterdir():
        content = path.read_bytes()
        path.write_bytes(content + b"// changed")
        assert build._digest("AVX2") != digest, path.name
        path.write_bytes(content)
    assert build._digest("AVX2") == digest
    assert build._digest("AVX512") != digest
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert build._digest("AVX2") != digest
