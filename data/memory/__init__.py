"""Episodic and semantic memory: what is recalled about a user, by meaning."""
