"""What each operator does to the layouts of its arguments."""
