"""The compiled operators of the fused backend: built from `csrc/` on first use, then loaded from a cache.

The build depends on the user's torch, compiler and processor, so it cannot be part of the wheel. It is stored where
torch stores the extensions it builds (`TORCH_EXTENSIONS_DIR`, by default `~/.cache/torch_extensions`), under a name
that depends on the sources, torch and the instruction set. If several processes start at once, one of them builds.

With ``ATN_SANITIZE=address,undefined`` in the environment the operators are built with these sanitizers, for tests
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
"""Compiler flags for the vector types of ATen, by the result of `torch.backends.cpu.get_cpu_capability()`."""

SANITIZED = ["-g1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", "-D_GLIBCXX_ASSERTIONS"]
"""Further flags of a build with sanitizers: line numbers, an abort at the first fault, checked indices."""


class Compiled(NamedTuple):
    """The operators, or None if they could not be built, and the reason in either case."""

    operators: Any | None
    reason: str


@functools.cache
def compiled() -> Compiled:
    """Build the operators, once per machine, and load them, once per process."""
    try:
        _load()
    except (ImportError, OSError, RuntimeError) as error:
        # Without a compiler, ninja or headers, or if the build fails, the plain loop runs; `atn.backends()` says why.
        # The first line of the message, or the name of an error without one.
        return Compiled(None, f"not compiled: {next(iter(str(error).strip().splitlines()), type(error).__name__)}")
    return Compiled(torch.ops.atn_compiled, f"compiled for {torch.backends.cpu.get_cpu_capability()}")


def _load() -> None:
    import filelock  # noqa: PLC0415  # needed on first use only

    capability = torch.backends.cpu.get_cpu_capability()
    name = f"atn_compiled_{_digest(capability)}"
    folder = cache_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    library, complete = folder / f"{name}.so", folder / "complete"
    with filelock.FileLock(folder / "build.lock"):
        # A complete library is never built again: for ninja, another checkout with the same sources is another path,
        # and a build would overwrite the file that a running process has mapped.
        if not _is_whole(library, complete):
            print(f"atn: compiling the fused backend, once, into {folder} ...", file=sys.stderr, flush=True)
            # Another process may have mapped the damaged file while it was whole: the new library gets a new file.
            for stale in (library, folder / "ops.o"):
                stale.unlink(missing_ok=True)
            _build(name, folder, capability)
            _write_atomically(complete, _fingerprint(library))
    torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]  # torch does not annotate it


def cache_folder() -> Path:
    """The folder in which torch stores the extensions that it builds."""
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path.home() / ".cache" / "torch_extensions")


def _is_whole(library: Path, complete: Path) -> bool:
    """Whether the library is the result of a finished build; using a truncated copy would crash the process."""
    try:
        return complete.read_text("ascii") == _fingerprint(library)
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def _fingerprint(library: Path) -> str:
    """Size in bytes and sha256 of a file."""
    content = library.read_bytes()
    return f"{len(content)} {hashlib.sha256(content).hexdigest()}\n"


def _write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is either whole or absent."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text, encoding="ascii")
    unfinished.replace(path)


def _build(name: str, folder: Path, capability: str) -> None:
    from torch.utils import cpp_extension  # noqa: PLC0415  # its import takes longer than the rest of the package

    # After a killed build torch's own lock would be waited for forever; the file lock of `_load` is released.
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
    """Names of the GCC sanitizers in the build, separated by commas; empty in normal use."""
    return os.environ.get("ATN_SANITIZE", "")


def _flags(capability: str) -> list[str]:
    """Compiler flags for the vector instructions `capability`."""
    definitions = [f"-DCPU_CAPABILITY={capability}", f"-DCPU_CAPABILITY_{capability}"]
    return ["-std=c++20", "-O3", "-fno-math-errno", "-fopenmp", *definitions, *INSTRUCTION_SETS.get(capability, [])]


def _digest(capability: str) -> str:
    digest = hashlib.sha256(f"{torch.__version__} {_flags(capability)} {_sanitizers()}".encode())
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def _environment_of_a_build() -> Iterator[None]:
    """Let torch find the ninja of this environment, even if the environment is not activated.

    Libraries preloaded into this process, such as the runtime of a sanitizer, are not preloaded into the compiler.
    """
    import ninja  # noqa: PLC0415  # needed by a build only

    before = {name: os.environ.get(name) for name in ("PATH", "LD_PRELOAD")}
    os.environ["PATH"] = os.pathsep.join((ninja.BIN_DIR, before["PATH"] or ""))
    os.environ.pop("LD_PRELOAD", None)
    try:
        yield
    finally:
        os.environ.pop("PATH")
        os.environ.update({name: value for name, value in before.items() if value is not None})
