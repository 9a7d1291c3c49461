"""What an agent can do besides answering: the user's own memory, Wikipedia, and any `dspy.Tool`."""
