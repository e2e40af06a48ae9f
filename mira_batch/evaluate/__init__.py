"""What the edits are worth: scores of results, what they say of all, and one run against another."""
