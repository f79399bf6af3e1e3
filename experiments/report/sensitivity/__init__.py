"""The sensitivity study in the report: in which cells of the declared grids which model is lowest."""
