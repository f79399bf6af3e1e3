"""The paper's tasks, and those that study them."""
