"""The tables of the study: which question, over which runs, answered how surely."""
