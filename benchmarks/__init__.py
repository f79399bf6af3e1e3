"""Speed of `atn.ATNLSTM` and of the alternatives to it: `python -m benchmarks run` and `python -m benchmarks report`.

Reading order of the modules:

- `sizes`: the sizes of the measurements;
- `peers`, `variants`: implementations of the alternatives, and the list of everything that is measured;
- `correctness`: the comparison with the oracle, without which nothing is timed;
- `timing`, `memory`: the two measurements;
- `run`, `results`: a whole measurement, and its record;
- `report`, `figures`: the page and its plots, made from the record only;
- `test_speed`: single timings with pytest-benchmark.
"""
