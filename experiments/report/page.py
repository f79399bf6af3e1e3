"""``experiments/README.md``: how to run, the paper's tables beside ours, and what agrees.

Every number is computed from records; the same records give the same bytes.
"""

from pathlib import Path

from experiments.common.files import write_atomically
from experiments.report.results import Results, load_results
from experiments.report.schema import Study
from experiments.report.section import figures, section
from experiments.report.studies.registry import STUDIES
from experiments.report.tables import markdown
from experiments.report.verdicts import claim_verdicts
from experiments.training.curve import FINAL_VALIDATIONS
from experiments.training.summary import FINAL_STEPS

HOW_TO_RUN = """\
# Experiments

The paper's benchmark on the verified implementation. This page is written by `python -m experiments report` from the
records in [`runs/`](runs) alone.

## How to run

```
python -m nox -s experiments -- copying --preset demo                  # LSTM, LN and ATN part, in minutes
python -m nox -s experiments -- copying --preset released --T 100      # LSTM, LN and ATN in turn
python -m nox -s experiments -- report                                 # this page and its figures
```

The session sets up its environment, checks the implementation first where no stamp says that it was checked, and then
is `python -m experiments ...`. Each task is one command, for all its models:
"""

HABITS = """\
- **Other settings.** `--help` after a task lists its settings with the preset's values; any of them can be given as a
  flag (`--T 200`, `--model atn`, `--k 25`). A run that differs from its preset has that in its name, its record and the
  tables below.
- **Several seeds.** `--seeds 0..4` or `--seeds 0,3,5`: a run each, in turn.
- **Data.** What a task needs is downloaded once and checked. `--data-dir` or `ATN_DATA_DIR` names a folder that has it
  already, for machines without a network; what is missing is said with where to get it.
- **Stop and go on.** Ctrl-C saves a checkpoint. The same command goes on from the last one, after a kill too, and on
  the same machine ends with the same numbers to the bit. A run that has finished is left alone.
- **Many runs.** `python -m experiments sweep copying adding --presets released --seeds 0..4 --set T=100,200` makes
  every combination, on a SLURM cluster where there is one and else on this machine; `--dry-run` lists them. What has
  finished is not run again.
- **Several processes.** `torchrun --nproc-per-node 2 -m experiments adding --preset released` trains one model on its
  batches' equal parts. `--device cuda` takes the GPU; `--help` lists the rest.
- **What a run leaves** in `runs/<name>/`: `record.json` (settings, command, commit, versions, device, stamp, time, and
  the numbers that need the loss of every step) and `curve.csv` (at most 500 rows of the losses), from which this page
  is written; `metrics.jsonl` (the loss of every step) and two checkpoints stay on the machine and are not committed.
- **Without a stamp** a run ends with one line and exit status 3; `--unverified` lets it run and marks its record.
"""


HOW_TO_READ = f"""\
## How to read the tables

- *Minimum*: the lowest loss of any single batch, as the paper's tables have it. It rewards luck, and hides that a run
  got worse again.
- *Final*: the mean over the last {FINAL_STEPS} training batches and {FINAL_VALIDATIONS} validations.
- Over several seeds: mean ± sample standard deviation. One seed is one draw, and has no spread.
- *Stamp*: the check that stood behind the run (`verify` all of it, `gate` the short one) and the beginning of the
  digest of the sources checked.
- A sentence of the paper is *confirmed* if it is true of every seed, for training and validation both, *not confirmed*
  if of none, *inconclusive* otherwise, and *pending* until it has runs. Numbers less than a margin apart count as
  level, 1% of a loss unless a section says otherwise. Of several measures the first decides.
- A claim is confirmed if all its sentences are. Where presets disagree, it is inconclusive.
- Runs that were shortened or changed, or that had no stamp, are in the tables, never in the claims or the figures.
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
    lines = [HOW_TO_RUN, *_commands(), "", HABITS, HOW_TO_READ, *_claims(results), ""]
    page = "\n".join([*lines, *(line for study in STUDIES for line in section(study, results))])
    pictures = {name: picture for study in STUDIES for name, picture in figures(study, results).items()}
    (output / "figures").mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        write_atomically(output / "figures" / name, picture)
    write_atomically(output / "README.md", page.encode())
    said = [f"{output / 'README.md'}: {len(results.finished)} finished runs, {len(results.unfinished)} others"]
    if results.for_looking:
        said.append(f"left out: {results.for_looking} demo and smoke runs")
    return said


def _commands() -> list[str]:
    header = ["task", "in the paper", "`python -m nox -s experiments --`"]
    return markdown(header, [[_link(study.title), study.place, f"`{_command(study)}`"] for study in STUDIES])


def _command(study: Study) -> str:
    return " ".join(filter(None, [study.task, f"--preset {study.preset}", study.flags]))


def _claims(results: Results) -> list[str]:
    rows = []
    for claim, verdict in claim_verdicts(results).items():
        numbers = dict.fromkeys(_link(part.study.title) for part in verdict.parts)
        rows.append([f"`{claim}`", verdict.headline, ", ".join(numbers)])
    said = "What the runs say of the measured claims of `proofs/papers`:"
    return ["## Claims", "", said, "", *markdown(["claim", "verdict", "numbers"], rows)]


def _link(title: str) -> str:
    """Link to a section by the fragment that GitHub gives its heading."""
    return f"[{title}](#{title.lower().replace(' ', '-')})"
