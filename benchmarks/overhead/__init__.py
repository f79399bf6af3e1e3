"""The cost of normalization over `torch.nn.LSTM` in every mode: training, inference, single steps, and memory.

Reading order of the modules:

- `rows`: the sizes, the modes, and the figures to reach;
- `calls`: one call of ATNLSTM and of nn.LSTM in each mode;
- `roofline`: the shortest possible time on this machine, from a matrix product and a stream triad of the same run;
- `allocated`: the largest number of bytes that a call has in use at once;
- `measure`: one process, which has a fixed number of threads and one kind of heap;
- `record`, `page`: the JSON file, and the section of README.md that is made of it.

``python -m benchmarks.overhead`` measures all of it.
"""
