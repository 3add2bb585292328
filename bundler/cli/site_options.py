"""What commands of `bundle-install` share: where the site's files lie."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from bundler.deploy.places import CONFIG, STATE, Places

F = TypeVar("F", bound=Callable[..., Any])


def site_options(function: F) -> F:
    """Give a command ``--config-dir`` and ``--state-dir``; it gets them as one argument ``places``."""

    @wraps(function)
    def command(*arguments: Any, config_dir: Path, state_dir: Path, **options: Any) -> Any:
        return function(*arguments, places=Places(config=config_dir, state=state_dir), **options)

    decorated = click.option(
        "--state-dir", type=click.Path(file_okay=False, path_type=Path), default=STATE, show_default=True,
        envvar="BUNDLE_STATE_DIR", help="Staging, log and receipts of this site.",
    )(command)  # fmt: skip
    return click.option(  # type: ignore[return-value]
        "--config-dir", type=click.Path(file_okay=False, path_type=Path), default=CONFIG, show_default=True,
        envvar="BUNDLE_CONFIG_DIR", help="site.yaml, trust and known_hosts of this site.",
    )(decorated)  # fmt: skip
