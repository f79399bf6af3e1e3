"""A setting of glibc's malloc that keeps the memory freed by a step in the process, for the next step.

By default glibc returns large blocks to the system as soon as they are free. Training frees the same blocks at the end
of each step and allocates them again in the next step, which then waits while the system fills every page with zeros.
"""

import ctypes
import platform

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
"""Names and values of glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Let malloc keep freed memory until the process ends; return whether it does.

    Only glibc is known to need the setting, so it is made for glibc only. Computed values do not depend on it. The
    process keeps its largest amount of memory until it ends.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # No block from outside the heap, and the heap never cut; mallopt answers 1 if it took the value.
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))
