"""``python -m benchmarks run`` and ``python -m benchmarks report``."""

import argparse
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.report import write_report
from benchmarks.run import QUICK_SECONDS, SECONDS, measure
from benchmarks.sizes import chosen, groups
from experiments.common.environment import ROOT

HERE = ROOT / "benchmarks"


def main(arguments: Sequence[str]) -> int:
    """Run a command line; return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "report":
        write_report(options.folder)
        print(f"{options.folder / 'README.md'} and its figures are up to date with {options.folder / 'results'}")
        return 0
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no CUDA device here")
    try:
        to_measure = chosen(groups(options.device, quick=options.quick), options.sizes)
    except ValueError as problem:
        parser.error(f"--sizes: {problem}")
    seconds = options.budget if options.budget is not None else QUICK_SECONDS if options.quick else SECONDS
    path = options.folder / "results" / f"{options.device}{'-quick' if options.quick else ''}.json"
    command = shlex.join(["python", "-m", "benchmarks", *arguments])
    try:
        measure(to_measure, torch.device(options.device), seconds, path, command)
    except KeyboardInterrupt:
        print(f"stopped; the groups that were done are in {path}")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the LSTMs, and report it.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure; results of other sizes and devices stay")
    run.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    run.add_argument(
        "--sizes",
        type=_names,
        default=[],
        metavar="A,B",
        help="only these: copying, k, T, H=2048, frameworks, frameworks:copying, ... (default: all)",
    )
    run.add_argument(
        "--budget", type=_seconds, metavar="SECONDS", help=f"for all timed rounds (default: {SECONDS:.0f})"
    )
    run.add_argument("--quick", action="store_true", help="a few small sizes, into a file that no report reads")
    report = commands.add_parser("report", help="write README.md and the figures from the results alone")
    for command in (run, report):
        command.add_argument("--folder", type=Path, default=HERE, help="where results/ is and README.md goes")
    return parser


def _names(text: str) -> list[str]:
    return text.split(",")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text!r}")
    return seconds
