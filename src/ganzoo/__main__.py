"""``python -m ganzoo``: the command line."""

from ganzoo.cli import main

if __name__ == "__main__":
    main()
