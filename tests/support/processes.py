"""Programs that use the library in a process of their own."""

import os
import subprocess
import sys


def script(program: str, **environment: str) -> subprocess.Popen[str]:
    """Start a Python program in a process of its own."""
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


USE = """
import torch, atn
out, _ = atn.ATNLSTM(3, 4, k=2)(torch.ones(5, 2, 3))
out.sum().backward()
print([info.reason for info in atn.backends() if info.name == "fused"][0])
"""
