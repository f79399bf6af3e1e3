"""The backend for the CPU: C++ kernels, how they are built, and the plain loop that serves where they cannot be."""
