"""What is said of trials that were not looked at."""
