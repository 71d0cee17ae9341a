"""From a module to facts about its units: the exported graph, walked."""
