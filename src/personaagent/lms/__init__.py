"""The language models and embedders that a program can ask."""
