"""Write a receipt: what this site has, for the way home."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundler.deploy.fleet import Answer, open_fleet, require_all
from bundler.deploy.host_receipts import ask_receipt
from bundler.deploy.places import Places
from bundler.deploy.receipts import HOST_KEY, keep_receipt, make_receipt
from bundler.deploy.session import Session
from bundler.deploy.site_file import read_site
from bundler.events import Emit, ignore
from bundler.model.site_receipt import HostReceipt, Receipt
from bundler.repohost import releases


@dataclass(frozen=True, kw_only=True)
class ReceiptRequest:
    """Whose receipt, signed with which key, and the medium that gets a copy.

    ``ask``: let every repo host sign what it has itself, with the key at the path ``host_key`` there.
    """

    places: Places
    key: Path = HOST_KEY
    medium: Path | None = None
    ask: bool = False
    host_key: str = releases.HOST_KEY


@dataclass(frozen=True, kw_only=True)
class WrittenReceipt:
    """The receipt, where it was written, and what became of the hosts that were asked for theirs."""

    receipt: Receipt
    files: tuple[Path, ...]
    answers: tuple[Answer[HostReceipt], ...] = ()

    def require_all(self) -> None:
        """Say which hosts gave none, and why.

        Raises:
            BundlerError: There are some; the receipt was written without them.
        """
        require_all(self.answers, "asking for receipts")


def write_receipt(request: ReceiptRequest, emit: Emit = ignore) -> WrittenReceipt:
    """Write the receipt. A host that gives none is missing in it, and is told of in the result.

    Raises:
        SiteError: There is no right ``site.yaml``: nobody knows whose receipt it would be.
        SigningFailed: The key cannot sign.
    """
    places = request.places
    site = read_site(places)
    answers: tuple[Answer[HostReceipt], ...] = ()
    if request.ask:

        def ask(session: Session) -> HostReceipt:
            return ask_receipt(session, site, request.host_key)

        with open_fleet(places, (), emit) as (_, fleet):
            answers = fleet.stage("receipts", ask)
    signed = tuple(one.value for one in answers if one.value is not None)
    receipt = make_receipt(site.name, places, signed)
    return WrittenReceipt(
        receipt=receipt, files=keep_receipt(receipt, places, request.key, request.medium), answers=answers
    )
