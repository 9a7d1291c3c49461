"""The nouns, and where they rest."""
