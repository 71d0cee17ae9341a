"""From facts about units to groups, and to the axes of every tensor."""
