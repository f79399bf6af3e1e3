"""What the modules of every cell share: parameters, layers and directions, packed input, states and their windows."""
