"""How a sweep is run: what is missing is planned, trained, measured and handed on."""
