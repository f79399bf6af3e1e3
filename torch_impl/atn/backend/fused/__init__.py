"""The backend for the CPU: C++ kernels, their build, and the plain loop that runs where they cannot be built."""
