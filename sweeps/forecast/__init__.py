"""What a sweep would take: what is missing, timed on this machine, without starting it."""
