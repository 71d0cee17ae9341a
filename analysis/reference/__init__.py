"""Reference numbers for other implementations, and their verification."""
