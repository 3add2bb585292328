"""The effective file is what a resolver needs: the real layers resolve nova, where both files together cannot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bundler.model.constraints import merge, parse_layer
from bundler.process import Command, Completed, run
from bundler.sources.credentials import split_login
from bundler.sources.indexes import read_pip_configuration

DATA = Path(__file__).parent / "data"
FILES = {"pins": "osa-global-requirement-pins-33.0.1-2026.1.txt", "upper": "upper-constraints-2026.1.txt"}


def compile_nova(directory: Path, *constraints: Path) -> Completed:
    wanted = directory / "nova.in"
    wanted.write_text("nova==33.*\n")
    index = read_pip_configuration().get("index-url")
    options = ["--index-url", split_login(index)[0]] if index else []
    files = [word for path in constraints for word in ("-c", str(path))]
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "compile", "--universal", "--python-version", "3.11", "--no-annotate", "--no-header"]
    return run(Command(argv=[*command, *options, *files, str(wanted)]), check=False, timeout=300)


@pytest.mark.network
@pytest.mark.slow
def test_nova_resolves_with_the_pin_that_wins(tmp_path: Path) -> None:
    """Under the merged layers nova resolves with the pins' numpy; under both files as they are it cannot."""
    layers = [parse_layer(name, (DATA / file).read_text(), file) for name, file in FILES.items()]
    effective = tmp_path / "effective.txt"
    effective.write_text(merge(layers).text)

    merged = compile_nova(tmp_path, effective)
    conflicting = compile_nova(tmp_path, *(DATA / file for file in FILES.values()))

    assert merged.returncode == 0, merged.stderr.decode()
    assert "numpy==2.3.5" in merged.text.split()
    assert conflicting.returncode != 0
    assert b"numpy" in conflicting.stderr
