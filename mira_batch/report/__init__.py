"""What people look at: live progress in the terminal, and the HTML report of a run."""
