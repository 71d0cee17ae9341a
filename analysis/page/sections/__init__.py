"""The sections of the page, one module per question."""
