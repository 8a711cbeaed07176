"""DO: one function for each kind of effect, reached through the table in `handlers` and small ports."""
