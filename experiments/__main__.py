"""``python -m experiments``."""

import sys

from experiments.allocator import keep_freed_memory
from experiments.command_line import main

if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))
