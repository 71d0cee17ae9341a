"""`python -m llfc`, and the `llfc` command."""

from llfc.command.main import main

if __name__ == "__main__":
    main()
