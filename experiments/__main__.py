"""``python -m experiments``."""

import io
import sys

from experiments.cli.main import main
from experiments.common.allocator import keep_freed_memory

if __name__ == "__main__":
    # A terminal or log that cannot show a letter of a path shows its code, and the command goes on.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))
