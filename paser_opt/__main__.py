"""``python -m paser_opt`` is ``paser-opt``."""

from .cli import main

main()
