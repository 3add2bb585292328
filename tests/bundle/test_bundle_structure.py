"""Well-signed lists that speak of another bundle than bundle.json are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundler.errors import ContentsRefused
from bundler.files import sha256_of
from bundler.model.sums import OWN, format_sums
from bundler.workflows.verify import VerifyRequest, verify

TARGET = "debian-12-x86_64"


def relist(bundle: Path) -> None:
    """Make the list fit what lies there, as a careless signer would."""
    found = {path.name: sha256_of(path) for path in bundle.iterdir() if not path.name.startswith(OWN)}
    (bundle / OWN).write_bytes(format_sums(found))


def refused(bundle: Path, keys: Any) -> ContentsRefused:
    keys.sign(bundle, "alice")
    with pytest.raises(ContentsRefused) as caught:
        verify(VerifyRequest(bundle=bundle, allowed_signers=keys.allowed))
    return caught.value


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no evidence": (lambda b: (b / "evidence.tar.zst").unlink(), "evidence.tar.zst: SHA256SUMS does not list it"),
    "no installer": (lambda b: (b / "bundle-install").unlink(), "bundle-install: SHA256SUMS does not list it"),
    "no table": (lambda b: (b / f"blobs-{TARGET}.sha256").unlink(), "blobs-debian-12-x86_64.sha256: SHA256SUMS"),
    "no volume": (lambda b: (b / f"{TARGET}-001.tar.zst").unlink(), "001.tar.zst: SHA256SUMS does not list it"),
    "a volume more": (lambda b: (b / "common-002.tar.zst").touch(), "common-002.tar.zst: is no volume"),
    "another table": (
        lambda b: (b / f"assemble-{TARGET}.tsv").write_text("link\tx\t0777\troot\t../../etc\n"),
        "assemble-debian-12-x86_64.tsv: says something else",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_list_that_does_not_fit_the_contents_is_refused(make_bundle: Any, keys: Any, what: str) -> None:
    """What every bundle has must be listed, tables must say what bundle.json says, volumes must be described."""
    change, words = CHANGES[what]
    bundle = make_bundle()
    change(bundle)
    relist(bundle)

    error = refused(bundle, keys)

    assert words in str(error.problems[0])


def test_all_of_it_is_reported(make_bundle: Any, keys: Any) -> None:
    """Every difference is a problem of its own."""
    bundle = make_bundle()
    for name in ("evidence.tar.zst", "README.txt", f"files-{TARGET}.sha256"):
        (bundle / name).unlink()
    relist(bundle)

    assert len(refused(bundle, keys).problems) == 3


def test_a_file_more_that_is_listed_is_accepted(make_bundle: Any, keys: Any) -> None:
    """Signers may add a note: it is listed and nothing unpacks it."""
    bundle = make_bundle()
    (bundle / "NOTE.txt").write_text("call us first\n")
    relist(bundle)
    keys.sign(bundle, "alice")

    assert verify(VerifyRequest(bundle=bundle, allowed_signers=keys.allowed, deep=True)).quorum.signers == ("alice",)
