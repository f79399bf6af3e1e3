"""What a step frees stays with the process, for the next step.

glibc hands large blocks back to the system as soon as they are free. Training frees the same blocks at the end of each
step and asks for them again in the next one, which then waits for the system to fill every page with zeros.
"""

import ctypes
import platform

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
"""Names and values of glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Let malloc keep what is freed, until the process ends; return whether it does.

    Only glibc is known to need it, and only there is it asked for. Values do not depend on it. The process keeps as
    much memory as it needed at most.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # No block from outside the heap, and the heap never cut; mallopt answers 1 if it took the value.
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))
