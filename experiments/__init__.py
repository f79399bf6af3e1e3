"""The paper's benchmark, run on the verified implementation.

Read in this order:

1. ``copying``: a task, with its presets, its data and its loss; ``network`` is the model that tasks train.
2. ``tasks``: the tasks by name; ``settings``: what decides a run's numbers, and what a run is called.
3. ``run``: one run from its folder's state to its end; ``trainer`` is the loop inside. ``parallel`` and
   ``data_parallel``: several processes that train one model.
4. ``gate``: no run without a stamp of the checks that passed on these sources.
5. ``record``, ``metrics``, ``checkpoint``: what a run leaves behind, written by ``files`` so that a kill harms nothing;
   ``board``: the same losses for TensorBoard.
6. ``results`` and ``paper``: our numbers and the paper's. ``study``: what the report declares of a task; ``studies``:
   all of it, with the paper's sentences in the forms of ``sentences``. ``verdicts``: these held against our runs.
   ``section``, ``tables``, ``missing``, ``curves``, ``figures``, ``report``: the page and its pictures, from records
   alone.
7. ``command_line``: all commands; ``task_command``: ``python -m experiments <task>``; ``sweep``: many runs, which
   ``jobs`` gives to this machine or to a cluster.
"""
