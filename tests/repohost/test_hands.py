"""Separate hands: what the pushing login does to its own inbox while the admitting one reads there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bundler.errors import BundlerError
from bundler.repohost.intake import admit, send_signed
from bundler.repohost.releases import restore
from tests.bundles import DEBIAN, Sample, digest_of
from tests.repohost.pushing import (
    Roots,
    bare,
    bundle_id,
    expected,
    push_blobs,
    signed_part,
    tree_of,
    trust,
    wanted,
    wired,
)

#: Every command that is handed the victim's path finds something else there: after all checks, before it is opened.
_SWAP = """\
#!/bin/sh
case "$*" in
    *{victim}*)
        if [ -f {victim} ]; then
            {tools}/mv {victim} {aside}
            {swap}
        fi
        ;;
esac
exec {tools}/{name} "$@"
"""
#: A pipe that nobody writes to, one that somebody holds open without a word, a link to something endless.
SWAPS = {
    "pipe": "{tools}/mkfifo {victim}",
    "held pipe": "{tools}/mkfifo {victim}; {tools}/sleep 60 <>{victim} >/dev/null 2>&1 &",
    "link": "{tools}/ln -s /dev/zero {victim}",
}
_READERS = ("cat", "cp", "dd", "head", "install", "sha256sum", "tail")
pytestmark = [pytest.mark.timeout(60), pytest.mark.parametrize("swap", SWAPS)]


@contextmanager
def swapped(directory: Path, victim: Path, swap: str) -> Iterator[dict[str, str]]:
    """Return an environment in which ``victim`` is swapped as it is read; it is what it was afterwards."""
    env = bare(directory)
    tools, bin_, aside = directory / "tools", directory / "swapping", directory / "aside"
    bin_.mkdir()
    names = {"victim": victim, "tools": tools, "aside": aside}
    for path in tools.iterdir():
        if path.name in _READERS:
            script = _SWAP.format(name=path.name, swap=SWAPS[swap].format(**names), **names)
            (bin_ / path.name).write_text(script)
            (bin_ / path.name).chmod(0o755)
        else:
            (bin_ / path.name).symlink_to(path)
    yield {**env, "PATH": str(bin_)}
    assert not victim.is_file() or victim.is_symlink(), "nothing was swapped"
    victim.unlink()
    aside.rename(victim)


@pytest.mark.parametrize("part", ["blob", "signed"])
def test_what_is_no_file_any_more_is_not_waited_for(
    tmp_path: Path, root: Path, roots: Roots, signed_bundle: Path, plain_sample: Sample, *, swap: str, part: str
) -> None:
    """Admission refuses what was put in place of a file, at once; with the file back, it goes through."""
    inbox, release = tmp_path / "inbox", bundle_id(signed_bundle)
    with wired(root) as wire:
        trust(wire, roots.container(roots.first))
    with wired(root, role="push", inbox=inbox) as wire:
        send_signed(wire, release, signed_part(signed_bundle, [DEBIAN]))
        push_blobs(wire, signed_bundle, plain_sample)
    lying = "signed/release.txt" if part == "signed" else f"blobs/{wanted(signed_bundle, [DEBIAN])[1]}"
    victim = inbox / release / lying

    with (
        swapped(tmp_path / "swap", victim, swap) as env,
        wired(root, role="admit", inbox=inbox, env=env) as wire,
        pytest.raises(BundlerError) as caught,
    ):
        admit(wire, release, [DEBIAN])
    with wired(root, role="admit", inbox=inbox) as wire:
        admit(wire, release, [DEBIAN])

    assert caught.value.exit_code in (61, 66)
    assert tree_of(root, release) == expected(plain_sample)


def test_what_is_sent_to_mend_is_not_waited_for(
    tmp_path: Path, root: Path, roots: Roots, signed_bundle: Path, plain_sample: Sample, *, swap: str
) -> None:
    """A host that lacks a blob goes on asking for it, whatever lies in the inbox under its name."""
    inbox, release = tmp_path / "inbox", bundle_id(signed_bundle)
    one = wanted(signed_bundle, [DEBIAN])[0]
    with wired(root) as wire:
        trust(wire, roots.container(roots.first))
    with wired(root, role="push", inbox=inbox) as wire:
        send_signed(wire, release, signed_part(signed_bundle, [DEBIAN]))
        push_blobs(wire, signed_bundle, plain_sample)
    with wired(root, role="admit", inbox=inbox) as wire:
        admit(wire, release, [DEBIAN])
    (root / ".bundles/blobs" / one[:2] / one).unlink()

    with (
        swapped(tmp_path / "swap", inbox / release / "blobs" / one, swap) as env,
        wired(root, role="admit", inbox=inbox, env=env) as wire,
    ):
        asked = restore(wire, release)
    with wired(root, role="admit", inbox=inbox) as wire:
        mended = restore(wire, release)

    assert (asked, mended) == ((one,), ())
    assert digest_of((root / ".bundles/blobs" / one[:2] / one).read_bytes()) == one
