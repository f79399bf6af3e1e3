"""``experiments/README.md``: how to run, the paper's tables beside ours, and what agrees.

Every number is computed from records; the same records give the same bytes.
"""

from pathlib import Path

from experiments.copying_report import copying_figures, copying_section
from experiments.files import write_atomically
from experiments.results import FINAL_STEPS, FINAL_VALIDATIONS, load_results
from experiments.verdicts import MARGIN

HOW_TO_RUN = """\
# Experiments

The paper's benchmark on the verified implementation. This page is written by `python -m experiments report` from the
records in [`runs/`](runs) alone.

## How to run

```
python -m nox -s experiments -- copying --preset smoke                 # all of the code in seconds
python -m nox -s experiments -- copying --preset released --T 100      # LSTM, LN and ATN in turn
python -m nox -s experiments -- report                                 # this page and its figures
```

The session sets up its environment, checks the implementation first where no stamp says that it was checked, and then
is `python -m experiments ...`. `--help` after a task lists its settings with the preset's values; any of them can be
given as a flag (`--model atn --seed 1 --k 25`), and a run that differs from its preset has that in its name, its record
and the tables below.

- **Stop and go on.** Ctrl-C saves a checkpoint. The same command goes on from the last one, after a kill too, and on
  the same machine ends with the same numbers to the bit. A run that has finished is left alone.
- **What a run leaves** in `runs/<name>/`: `record.json` (settings, command, commit, versions, device, stamp, time),
  `metrics.jsonl` (the loss of every step) and two checkpoints, which are not committed.
- **Without a stamp** a run ends with one line and exit status 3; `--unverified` lets it run and marks its record.
"""


HOW_TO_READ = f"""\
## How to read the tables

- *Minimum*: the lowest loss of any single batch, as the paper's tables have it. It rewards luck, and hides that a run
  got worse again.
- *Final*: the mean over the last {FINAL_STEPS} training batches and {FINAL_VALIDATIONS} validation batches.
- Over several seeds: mean ± sample standard deviation. One seed is one draw, and has no spread.
- *Stamp*: the check that stood behind the run (`verify` all of it, `gate` the short one) and the beginning of the
  digest of the sources checked.
- A claim is *confirmed* if it is true of every seed, for training and validation both, *not confirmed* if of none,
  *inconclusive* otherwise. Losses less than {MARGIN:.0%} apart count as level.
- Runs whose settings are not their preset's are in the tables, never in the claims or the figures.
"""


def write_report(runs: Path, output: Path) -> list[str]:
    """Write README.md and the figures into `output`; return what there is to say about it.

    Raises
    ------
    ExperimentError
        If a record or its losses are damaged; nothing is written.
    OSError
        If a file cannot be written; it stands as before.
    """
    results = load_results(runs)
    page = "\n".join([HOW_TO_RUN, HOW_TO_READ, *copying_section(results)])
    figures = copying_figures(results)
    (output / "figures").mkdir(parents=True, exist_ok=True)
    for name, picture in figures.items():
        write_atomically(output / "figures" / name, picture)
    write_atomically(output / "README.md", page.encode())
    said = [f"{output / 'README.md'}: {len(results.finished)} finished runs, {len(results.unfinished)} others"]
    if results.smoke:
        said.append(f"left out: {results.smoke} smoke runs")
    return said
