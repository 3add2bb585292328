"""Print a table of what is in stock."""

import sys
from importlib.metadata import version

from tabulate import tabulate


def main() -> None:
    """Print `name=count` arguments as a table with a total, or the version."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        print(version("stock-report"))
        return
    rows = [(name, int(count)) for name, _, count in (one.partition("=") for one in arguments)]
    print(tabulate([*rows, ("total", sum(count for _, count in rows))], tablefmt="plain"))
