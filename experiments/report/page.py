"""``experiments/README.md``: how to run the experiments, the paper's tables beside ours, and what agrees.

Every number is computed from the records. Equal records give an identical page.
"""

from pathlib import Path

from experiments.common.files import write_atomically
from experiments.common.markdown import markdown
from experiments.report.missing import SETTLED_SEEDS, missing_lines, time_to_settle
from experiments.report.paired import CONFIDENCE
from experiments.report.results import Results, load_results
from experiments.report.schema import Study
from experiments.report.section import figures, section
from experiments.report.sensitivity.figure import sensitivity_figures
from experiments.report.sensitivity.grid_results import in_a_grid
from experiments.report.sensitivity.section import TITLE as SENSITIVITY
from experiments.report.sensitivity.section import sensitivity_section
from experiments.report.studies.registry import STUDIES
from experiments.report.verdicts import AT_REDUCED_SIZE, claim_verdicts
from experiments.training.records.curve import FEW_VALIDATIONS, FINAL_VALIDATIONS
from experiments.training.records.summary import FINAL_STEPS

HOW_TO_RUN = """\
# Experiments

The paper's benchmark on the verified implementation. This page is written by `python -m experiments report` from the
records in [`runs/`](runs) alone.

## How to run

```
python -m nox -s experiments -- copying --preset demo                  # the norms leave the LSTM behind, in minutes
python -m nox -s experiments -- copying --preset released --T 100      # LSTM, LN and ATN in turn
python -m nox -s experiments -- report                                 # this page and its figures
```

nox sets up an environment and then runs `python -m experiments ...`. If no stamp shows that these sources have
been checked, it checks the implementation first. Each task is one command, which runs all its models in turn unless
`--model` names one:
"""

OPTIONS_OF_RUNS = """\
- **Other settings.** `--help` after a task lists its settings with the preset's values. A flag changes a setting
  (`--T 200`, `--model atn`, `--k 25`). The name and the record of the run, and the tables below, show every difference
  from the preset.
- **Several seeds.** `--seeds 0..4` or `--seeds 0,3,5` makes one run for each seed, one after the other.
- **Data.** The data sets of a task are downloaded once and checked. `--data-dir` or `ATN_DATA_DIR` names a folder that
  has them already, for machines without a network. The message on a missing file says where to get it.
- **Interrupting and resuming.** Ctrl-C saves a checkpoint. The same command resumes from the last checkpoint, also
  after a kill, and ends with bit-identical numbers on the same machine. A finished run is not changed.
- **Many runs.** `python -m experiments sweep copying adding --presets released --seeds 0..4 --set T=100,200` runs
  every combination, on a SLURM cluster if there is one and otherwise on this machine. `--dry-run` lists the runs.
  Finished runs are not repeated.
- **Several processes.** `torchrun --nproc-per-node 2 -m experiments adding --preset released` trains each model with
  two processes that share its batches. `--device cuda` uses the GPU; `--help` lists the other options.
- **What a run leaves** in `runs/<name>/`: `record.json` (settings, command, commit, versions, device, stamp, time, and
  the numbers that need the loss of every step) and `curve.csv` (at most 500 rows of the losses), from which this page
  is written; `metrics.jsonl` (the loss of every step) and two checkpoints stay on the machine and are not committed.
- **Without a stamp** a run ends with one line and exit status 3. `--unverified` runs it all the same and marks its
  record.
"""


def fragment(title: str) -> str:
    """The fragment that GitHub gives the heading of a section."""
    return f"#{title.lower().replace(' ', '-')}"


HOW_TO_READ = f"""\
## How to read the tables

- Two numbers joined by a slash are of training and of validation, unless their column or measure names two others.
- *Minimum* is the lowest loss of a training batch, or epoch where a section says so, and the lowest loss of a
  validation, which is what the paper's tables show. It favors lucky batches, and it hides that a loss rose again.
- *Final* is the mean over the last {FINAL_STEPS} training batches and over the last {FINAL_VALIDATIONS} validations, or
  the last validation of a run with fewer than {FEW_VALIDATIONS}.
- *Last 5 %* is the mean over the last 5 % of the steps and over the validations among them, or the final validation
  where there is none.
- Numbers over several seeds are mean ± sample standard deviation; that of a single seed has no spread. With one seed a
  sentence says only what that run did. Two equal models would confirm an order by chance with a probability of up to
  1/2 at one seed and 1/8 at three.
- *Paired difference* is the mean over the seeds of first model minus second at the same seed, and so on the same data,
  with its {CONFIDENCE:.0%} interval by Student's t.
- The plain LSTM starts from other weights than LN and ATN, PyTorch's own, as in the released code (`lstm_init` and
  `init` of a task's settings): a difference from the LSTM is one of norm and initialization together.
- *Stamp* names the check that library, oracle, proofs and tests had passed (`verify` is the full one, `gate` the short
  one) and the beginning of the digest of these sources. The code of the experiment is that of the commit in the record.
- A sentence of the paper is *confirmed* if it is true for every seed, in training and in validation; *not confirmed* if
  it is true for no seed; *inconclusive* otherwise; and *pending* while no seed has all its runs. Two losses count as
  equal if they differ by less than a margin, which is 1% of a loss unless a section gives another one. If there are
  several measures, the first one decides.
- A claim is confirmed if all its sentences are confirmed, and not confirmed as soon as one of them is not; else it is
  inconclusive or pending as the others are. It is inconclusive if the presets disagree. The presets that have all their
  runs decide, of these the ones that are not *{AT_REDUCED_SIZE}* if there are any; where none has all, those with some.
- The claims `s1-faster-*` and `s4-*` were added, and the sentences that decide `figure-3` to `figure-6` chosen, when
  their runs were known. The words of the paper decided.
- Runs that had no stamp, and runs whose settings or steps differ from the preset, decide no claim. The latter are rows
  of their task's tables, or, where they belong to a grid, are shown in
  [{SENSITIVITY}]({fragment(SENSITIVITY)}) alone.
- A run whose loss became not finite has no numbers to compare. Its seed decides no sentence, and the verdict says how
  many seeds were left out for it.
- *Time* is that of a run with one thread on a machine with two cores, which others shared; it compares no models.
- In the figures of losses the loss of a single seed has a band from its lowest to its highest, in the place of thin
  lines; and a loss that jumps well above the highest dashed line leaves the panel.
"""


def write_report(runs: Path, output: Path) -> list[str]:
    """Write README.md and the figures into `output`; return lines that say how many runs the report has.

    Raises
    ------
    ExperimentError
        A record or a curve is damaged; nothing is written.
    OSError
        A file cannot be written; its old content remains.
    """
    results = load_results(runs)
    lines = [HOW_TO_RUN, *_commands(), "", OPTIONS_OF_RUNS, HOW_TO_READ, *_claims(results), ""]
    varied = in_a_grid(results)
    of_studies = results._replace(finished=[one for one in results.finished if one.record.name not in varied])
    for study in STUDIES:
        lines += [*section(study, of_studies), "### Still to run", "", *missing_lines(study, results), ""]
    page = "\n".join([*lines, *sensitivity_section(results)])
    pictures = {name: picture for study in STUDIES for name, picture in figures(study, of_studies).items()}
    pictures |= sensitivity_figures(results)
    (output / "figures").mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        write_atomically(output / "figures" / name, picture)
    write_atomically(output / "README.md", page.encode())
    summary = [f"{output / 'README.md'}: {len(results.finished)} finished runs, {len(results.unfinished)} others"]
    if results.unreported:
        summary.append(f"left out: {results.unreported} demo and smoke runs")
    return summary


def _commands() -> list[str]:
    header = ["task", "in the paper", "`python -m nox -s experiments --`"]
    return markdown(header, [[_link(study.title), study.place, f"`{_command(study)}`"] for study in STUDIES])


def _command(study: Study) -> str:
    return " ".join(filter(None, [study.task, f"--preset {study.preset}", study.flags]))


def _claims(results: Results) -> list[str]:
    rows = []
    for claim, verdict in claim_verdicts(results).items():
        numbers = dict.fromkeys(_link(part.study.title) for part in verdict.parts)
        rows.append([f"`{claim}`", verdict.headline, time_to_settle(verdict, results), ", ".join(numbers)])
    introduction = (
        "Verdicts of the runs on the measured claims, whose sentences stand in [VERIFICATION.md](../VERIFICATION.md), "
        f"and the time, on one core, of the runs that a verdict over {SETTLED_SEEDS} seeds lacks; each section ends "
        "with the commands of all runs that are missing:"
    )
    header = ["claim", "verdict", f"to {SETTLED_SEEDS} seeds", "numbers"]
    return ["## Claims", "", introduction, "", *markdown(header, rows)]


def _link(title: str) -> str:
    return f"[{title}]({fragment(title)})"
