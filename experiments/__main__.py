"""``python -m experiments``."""

import sys

from experiments.cli.main import main
from experiments.common.allocator import keep_freed_memory

if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))
