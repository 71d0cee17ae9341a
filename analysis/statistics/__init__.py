"""What an association is worth: beside what else says so, within a cell, in other families."""
