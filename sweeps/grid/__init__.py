"""What is asked: the grid of a sweep, its options and settings. No Ray here."""
