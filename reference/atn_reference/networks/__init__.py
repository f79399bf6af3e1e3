"""Recurrent networks with any of the norms."""
