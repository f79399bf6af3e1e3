"""Tests of `ATNLSTM`."""
