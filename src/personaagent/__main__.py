"""`python -m personaagent` is the `personaagent` command."""

from .cli import main

if __name__ == "__main__":
    main()
