"""The answers as a page, and as a summary for the terminal."""
