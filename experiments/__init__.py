"""The paper's benchmark, run on the verified implementation.

A folder imports those before it; ``tests/verification/test_layering.py`` holds the order and its one exception.

- ``common``: files, errors, the environment and the command line, shared with the benchmarks.
- ``training``: settings, the loop, checkpoints, records in ``records``, and several processes.
- ``models``: the models that tasks train.
- ``datasets``: where the data come from, their checksums, and how they are read.
- ``related``: studies of systems beside the paper, a folder for each.
- ``tasks``: the paper's tasks, and all tasks by name in ``registry``.
- ``report``: the page and its figures, from records alone; ``studies`` has what it declares of each task.
- ``cli``: ``python -m experiments``, which trains, sweeps and reports.

``stamp`` refuses runs of sources whose checks have not passed. Records are in ``runs``, pictures in ``figures``.
"""
