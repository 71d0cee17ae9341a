"""The sections of the page, a module a question."""
