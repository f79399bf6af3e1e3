"""The compiled operators of the fused backend: built from `csrc/` on first use, then loaded from a cache.

The build belongs to the user's torch, compiler and processor, so it cannot come in the wheel. It is kept where torch
keeps the extensions it builds (`TORCH_EXTENSIONS_DIR`, by default `~/.cache/torch_extensions`), under a name that
changes with the sources, torch and the instruction set. Several processes that start at once build once.

With ``ATN_SANITIZE=address,undefined`` in the environment the operators check their own memory accesses, for tests
(`tests.fuzzing.fuzz`); the sanitizer's runtime must then be preloaded.
"""

import functools
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

SOURCES = Path(__file__).with_name("csrc")

INSTRUCTION_SETS = {
    "AVX2": ["-mavx2", "-mfma", "-mf16c"],
    "AVX512": ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma", "-mf16c"],
}
"""Compiler flags for the vector types of ATen, by what `torch.backends.cpu.get_cpu_capability()` says."""

SANITIZED = ["-g1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", "-D_GLIBCXX_ASSERTIONS"]
"""Further flags of a build with sanitizers: places in the sources, an end at the first fault, checked indices."""


class Compiled(NamedTuple):
    """The operators, or None and the reason why there are none."""

    operators: Any | None
    reason: str


@functools.cache
def compiled() -> Compiled:
    """Build (once a machine) and load (once a process) the operators."""
    try:
        _load()
    except (ImportError, OSError, RuntimeError) as error:
        # No compiler, no ninja, no headers, a build that fails: the plain loop serves, and `atn.backends()` says why.
        return Compiled(None, f"not compiled: {str(error).strip().splitlines()[0]}")
    return Compiled(torch.ops.atn_compiled, f"compiled for {torch.backends.cpu.get_cpu_capability()}")


def _load() -> None:
    import filelock  # noqa: PLC0415  # only a first use needs it

    capability = torch.backends.cpu.get_cpu_capability()
    name = f"atn_compiled_{_digest(capability)}"
    folder = cache_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    library, complete = folder / f"{name}.so", folder / "complete"
    with filelock.FileLock(folder / "build.lock"):
        # Once built it is never built again: another checkout with the same sources is another path to ninja, and a
        # build would overwrite what a running process has mapped.
        if not _is_whole(library, complete):
            print(f"atn: compiling the fused backend, once, into {folder} ...", file=sys.stderr, flush=True)
            # What is damaged may still be mapped by a process that loaded it whole: give the new one a file of its own.
            for stale in (library, folder / "ops.o"):
                stale.unlink(missing_ok=True)
            _build(name, folder, capability)
            _write_atomically(complete, _fingerprint(library))
    torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]  # torch does not annotate it


def cache_folder() -> Path:
    """Where torch keeps the extensions that it builds."""
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path.home() / ".cache" / "torch_extensions")


def _is_whole(library: Path, complete: Path) -> bool:
    """Whether the library is the one that a build finished: a copy cut short would end the process when it is used."""
    try:
        return complete.read_text("ascii") == _fingerprint(library)
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def _fingerprint(library: Path) -> str:
    """Size in bytes and sha256 of a file."""
    content = library.read_bytes()
    return f"{len(content)} {hashlib.sha256(content).hexdigest()}\n"


def _write_atomically(path: Path, text: str) -> None:
    """Write a file that is either whole or not there."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text, encoding="ascii")
    unfinished.replace(path)


def _build(name: str, folder: Path, capability: str) -> None:
    from torch.utils import cpp_extension  # noqa: PLC0415  # costs more than the rest of the package

    # torch's own lock outlives a killed build and would be waited for forever; ours does not.
    (folder / "lock").unlink(missing_ok=True)
    sanitizers = [f"-fsanitize={_sanitizers()}"] if _sanitizers() else []
    with _environment_of_a_build():
        cpp_extension.load(
            name,
            [str(SOURCES / "ops.cpp")],
            build_directory=str(folder),
            extra_cflags=[
                *_flags(capability),
                *(SANITIZED if sanitizers else []),
                *sanitizers,
            ],
            extra_ldflags=sanitizers,
            is_python_module=False,
        )


def _sanitizers() -> str:
    """Sanitizers of GCC, separated by commas, that the operators are built with; usually none."""
    return os.environ.get("ATN_SANITIZE", "")


def _flags(capability: str) -> list[str]:
    """Compiler flags of a build for these vector instructions."""
    definitions = [f"-DCPU_CAPABILITY={capability}", f"-DCPU_CAPABILITY_{capability}"]
    return ["-std=c++20", "-O3", "-fno-math-errno", "-fopenmp", *definitions, *INSTRUCTION_SETS.get(capability, [])]


def _digest(capability: str) -> str:
    digest = hashlib.sha256(f"{torch.__version__} {_flags(capability)} {_sanitizers()}".encode())
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def _environment_of_a_build() -> Iterator[None]:
    """Let torch find the ninja of this environment, also where the environment is not activated.

    What is preloaded into this process, such as the runtime of a sanitizer, is not for the compiler.
    """
    import ninja  # noqa: PLC0415  # only a build needs it

    before = {name: os.environ.get(name) for name in ("PATH", "LD_PRELOAD")}
    os.environ["PATH"] = os.pathsep.join((ninja.BIN_DIR, before["PATH"] or ""))
    os.environ.pop("LD_PRELOAD", None)
    try:
        yield
    finally:
        os.environ.pop("PATH")
        os.environ.update({name: value for name, value in before.items() if value is not None})
