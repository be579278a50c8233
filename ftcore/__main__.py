"""``python -m ftcore`` is the command ``ftcore``."""

from ftcore.cli import main

main()
