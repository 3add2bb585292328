"""Write a receipt: what this site has, for the way home."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundler.deploy.places import Places
from bundler.deploy.receipts import HOST_KEY, keep_receipt, make_receipt
from bundler.deploy.site_file import read_site
from bundler.model.site_receipt import Receipt


@dataclass(frozen=True, kw_only=True)
class ReceiptRequest:
    """Whose receipt, signed with which key, and the medium that gets a copy."""

    places: Places
    key: Path = HOST_KEY
    medium: Path | None = None


def write_receipt(request: ReceiptRequest) -> tuple[Receipt, tuple[Path, ...]]:
    """Return the receipt and where it was written.

    Raises:
        SiteError: There is no right ``site.yaml``: nobody knows whose receipt it would be.
        SigningFailed: The key cannot sign.
    """
    receipt = make_receipt(read_site(request.places).name, request.places)
    return receipt, keep_receipt(receipt, request.places, request.key, request.medium)
