"""Which bundle, lock, layer, source and signer brought a package, which hosts serve it, and why others do not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from bundler.bundle.reader import Bundle
from bundler.deploy.audit import AuditLog
from bundler.deploy.fleet import open_fleet
from bundler.deploy.kept import kept_releases, open_kept
from bundler.deploy.outcome import reason
from bundler.deploy.places import Places
from bundler.deploy.presence import Presence, Use, canonical, near_names, presence, uses_of
from bundler.errors import BundlerError, UsageError
from bundler.events import Emit, ignore
from bundler.model.contents import SEEDS, Contents
from bundler.repohost import intake

_PROVENANCE = "provenance.json"


@dataclass(frozen=True, kw_only=True)
class WhyRequest:
    """The package; which hosts, all without any; which venv, any without one."""

    places: Places
    package: str
    hosts: tuple[str, ...] = ()
    venv: str = ""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A use of the package: where its wheel came from (URI and digest), its lock in the evidence, who signed."""

    use: Use
    sources: tuple[str, ...]
    lock: str
    signers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Why:
    """The answer. Without ``origins`` none of the ``releases`` that this site applied has it in that venv.

    ``venvs``: in which venvs any of them has it; where there are none, ``near`` are names like it.
    """

    package: str
    origins: tuple[Origin, ...]
    hosts: tuple[Presence, ...]
    releases: tuple[str, ...] = ()
    venvs: tuple[str, ...] = ()
    near: tuple[str, ...] = ()


def why(request: WhyRequest, emit: Emit = ignore) -> Why:
    """Return where a package came from and where it is; that it is nowhere is an answer too.

    Raises:
        UsageError: There is no such host or venv.
    """
    places = request.places
    contents = _contents(places)
    uses = uses_of(request.package, contents.values())
    known = {venv.name for one in contents.values() for venv in one.venvs}
    if request.venv and request.venv not in known:
        raise UsageError(f"there is no venv {request.venv!r}", hint=f"there are: {', '.join(sorted(known))}")
    chosen = [use for use in uses if request.venv in {"", use.venv}]
    with open_fleet(places, request.hosts, emit) as (_, fleet):
        looks = fleet.stage("look", lambda session: intake.look(session.admit))
    return Why(
        package=canonical(request.package),
        origins=tuple(_origins(places, chosen)),
        hosts=tuple(
            presence(look.host.name, look.value, uses, contents, request.venv)
            if look.value is not None
            else Presence(host=look.host.name, reasons=(reason(look.host.name, look.error),))
            for look in looks
        ),
        releases=tuple(contents),
        venvs=tuple(sorted({use.venv for use in uses})),
        near=() if uses else near_names(request.package, contents.values()),
    )


def _contents(places: Places) -> dict[str, Contents]:
    found = {}
    for name in kept_releases(places):
        with open_kept(places, name) as bundle:
            found[name] = bundle.contents
    return found


def _origins(places: Places, uses: Iterable[Use]) -> list[Origin]:
    signers = _signers(places)
    found: list[Origin] = []
    by_release: dict[str, list[Use]] = {}
    for use in uses:
        by_release.setdefault(use.release, []).append(use)
    for release, mine in by_release.items():
        with open_kept(places, release) as bundle:
            evidence = _evidence(bundle)
            sources = _sources(evidence)
            found += [
                Origin(
                    use=use,
                    sources=sources.get(f"{use.package.name}@{use.package.version}", ()),
                    lock=_lock(evidence, use),
                    signers=signers.get(bundle.digest, ()),
                )
                for use in mine
            ]
    return found


def _evidence(bundle: Bundle) -> dict[str, bytes]:
    try:
        return bundle.evidence()
    except BundlerError:
        # A release may come without; what bundle.json says is still worth telling.
        return {}


def _sources(evidence: dict[str, bytes]) -> dict[str, tuple[str, ...]]:
    """Return ``name@version`` → where it came from, by the provenance (SLSA v1, resolvedDependencies)."""
    found: dict[str, tuple[str, ...]] = {}
    try:
        statement = json.loads(evidence.get(_PROVENANCE, b"{}"))
        for one in statement.get("predicate", {}).get("buildDefinition", {}).get("resolvedDependencies", []):
            digests = [f"{name}:{value}" for name, value in sorted(one["digest"].items())]
            found[one["name"]] = (*found.get(one["name"], ()), " ".join((one["uri"], *digests)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return found


def _lock(evidence: dict[str, bytes], use: Use) -> str:
    name = "seed/pylock.toml" if use.venv == SEEDS else f"pylock.{use.venv}.toml"
    paths = [path for path in sorted(evidence) if path.startswith("locks/") and path.endswith(f"/{name}")]
    return next((path for path in paths if use.target in path), paths[0] if paths else "")


def _signers(places: Places) -> dict[str, tuple[str, ...]]:
    """Return digest of a bundle → who had signed it when it was verified last, by the audit log."""
    return {
        str(record.facts.get("sha256sums")): tuple(str(one) for one in record.facts.get("signers", ()))
        for record in AuditLog(places.log).records()
        if record.event == "verified"
    }
