"""`bundle-install verify`: is this bundle what its signers signed?"""

from __future__ import annotations

from bundler.cli.commands.verify import make_command

command = make_command(lambda: None)
