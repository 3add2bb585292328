"""Look into a bundle: what its ``bundle.json`` lists and what of that lies on the medium. Nothing is verified."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bundler.bundle.layout import SIGNATURE
from bundler.bundle.medium import Medium, read_bounded
from bundler.bundle.reader import open_bundle
from bundler.errors import BundleError, FileIrregular, FileMissing, UsageError
from bundler.model.contents import MAX_SIGNATURE, VolumeEntry
from bundler.model.inspection import (
    Inspection,
    SeenSignature,
    SeenVolume,
    VolumeState,
    measure,
    view_targets,
    view_venvs,
)
from bundler.signing.sshsig import parse_signature


@dataclass(frozen=True, kw_only=True)
class InspectRequest:
    """The bundle, a directory or a tar; ``venv`` and ``target`` choose what is shown, empty for all."""

    bundle: Path
    venv: str = ""
    target: str = ""


def inspect_bundle(request: InspectRequest) -> Inspection:
    """Return what the bundle holds. A volume that is not on the medium is told, not refused.

    Raises:
        UsageError: It has no such venv or target.
        BundleError: ``bundle.json`` is not the one that SHA256SUMS lists, or makes no sense.
    """
    with open_bundle(request.bundle) as bundle:
        contents = bundle.contents
        _check_name("target", request.target, (target.name for target in contents.targets))
        _check_name("venv", request.venv, (venv.name for venv in contents.venvs))
        return Inspection(
            contents=contents,
            digest=bundle.digest,
            targets=tuple(view for view in view_targets(contents) if request.target in ("", view.entry.name)),
            venvs=tuple(
                view
                for view in view_venvs(contents)
                if request.target in ("", view.entry.target) and request.venv in ("", view.entry.name)
            ),
            volumes=tuple(
                SeenVolume(entry=volume, state=_state(bundle.medium, volume)) for volume in contents.volumes
            ),
            signatures=tuple(_signatures(bundle.medium)),
            sizes=measure(contents),
            seeds=tuple(seed for seed in contents.seeds if request.target in ("", seed.target) and not request.venv),
        )


def _check_name(what: str, name: str, known: Iterable[str]) -> None:
    names = sorted(set(known))
    if name and name not in names:
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(names) or 'none'}"
        raise UsageError(f"the bundle has no {what} {name!r}", hint=hint)


def _state(medium: Medium, volume: VolumeEntry) -> VolumeState:
    try:
        return "present" if medium.size(volume.name) == volume.size else "wrong size"
    except FileMissing:
        return "missing"
    except FileIrregular:
        return "irregular"


def _signatures(medium: Medium) -> Iterable[SeenSignature]:
    for name in medium.names():
        match = SIGNATURE.fullmatch(name)
        if match is None:
            continue
        try:
            key = parse_signature(read_bounded(medium, name, MAX_SIGNATURE)).key
        except BundleError as error:
            yield SeenSignature(name=name, signer=match[1], key="", problem=error.message)
        else:
            yield SeenSignature(name=name, signer=match[1], key=key.fingerprint)
