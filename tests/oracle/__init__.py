"""The oracle against independent derivatives and against itself."""
