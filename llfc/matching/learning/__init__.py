"""Learning a transform by descending the loss of the network between."""
