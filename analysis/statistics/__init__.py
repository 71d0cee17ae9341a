"""The statistics: correlations and intervals over seeds, comparators, cells, held-out families."""
