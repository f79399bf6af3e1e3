"""How fast `atn.ATNLSTM` is beside what a user would run instead: `python -m benchmarks run` and `... report`.

Reading order of the modules:

- `sizes`: what is measured at which sizes;
- `peers`, `variants`: the alternatives, written plainly, and the list of everything that is measured;
- `correctness`: what disagrees with the oracle is not timed;
- `timing`, `memory`: the two measurements;
- `run`, `results`: a whole measurement, and its record;
- `report`, `figures`: the page and its plots, from the record alone;
- `test_speed`: single looks with pytest-benchmark.
"""
