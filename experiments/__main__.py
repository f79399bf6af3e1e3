"""``python -m experiments``."""

import io
import os
import sys

from experiments.common.allocator import keep_freed_memory
from experiments.common.errors import INTERRUPTED

CLOSED_PIPE = 128 + 13  # SIGPIPE, which not every system has
"""Exit status where the output is no longer read: that of a process which SIGPIPE ends."""

if __name__ == "__main__":
    # A terminal or log that cannot show a letter of a path shows its code, and the command goes on.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    keep_freed_memory()
    try:
        # Here, since it takes seconds, in which Ctrl-C may come.
        from experiments.cli.main import main

        status = main(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. What is left in the buffer has nowhere to go at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = CLOSED_PIPE
    sys.exit(status)
