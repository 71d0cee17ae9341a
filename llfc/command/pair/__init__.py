"""What `llfc connect` leaves of a pair: numbers, figures, and one page that needs no network."""
