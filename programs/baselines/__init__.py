"""The systems that PersonaAgent is compared with, each called as it is."""
