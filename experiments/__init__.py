"""The paper's benchmark, run on the verified implementation.

Read in this order:

1. ``copying``: a task, with its presets, its data and its loss; ``network`` is the model that tasks train.
2. ``tasks``: the tasks by name; ``settings``: what decides a run's numbers, and what a run is called.
3. ``run``: one run from its folder's state to its end; ``trainer`` is the loop inside.
4. ``gate``: no run without a stamp of the checks that passed on these sources.
5. ``record``, ``metrics``, ``checkpoint``: what a run leaves behind, written by ``files`` so that a kill harms nothing.
6. ``results``, ``paper``, ``verdicts``, ``figures``, ``tables``, ``copying_report``, ``report``: our numbers beside the
   paper's, from the records alone.
7. ``command_line``: ``python -m experiments <task>`` and ``python -m experiments report``.
"""
