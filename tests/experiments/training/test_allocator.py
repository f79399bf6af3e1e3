"""Memory that a step of training frees and the next one asks for again."""

import subprocess
import sys

import pytest

from experiments.common.allocator import keep_freed_memory
from experiments.common.environment import ROOT

PAGES = 20_000
"""Pages of a block, beyond the 32 MiB up to which malloc learns by itself to keep one."""

REPEATED = f"""
import resource, sys
from experiments.common.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

def faults_of_a_block():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(b"\\1") * ({PAGES} * resource.getpagesize())
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults_of_a_block()
print(faults_of_a_block())
"""


def faults(how: str) -> int:
    """Page faults of a large block that is asked for after one of its size was freed, in a process of its own."""
    command = [sys.executable, "-c", REPEATED, how]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - this Python
    return int(answer.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc gives memory back so eagerly")
def test_a_block_is_had_again_without_page_faults() -> None:
    assert faults("given back") > PAGES / 2
    assert faults("kept") < PAGES / 100


def test_another_libc_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
