"""A bundle as one self-contained HTML page: nothing from elsewhere, the same bytes for the same facts.

It works from a stick without a network, and without its script but for finding and sorting.
"""

from __future__ import annotations

from collections.abc import Iterator

from bundler.attest.page_changes import changes_section
from bundler.attest.page_html import (
    Column,
    Table,
    cell,
    code,
    count,
    document,
    facts,
    names,
    row,
    size,
    targets,
    text,
    wide,
)
from bundler.attest.page_packages import Places, packages_section
from bundler.clock import iso
from bundler.model.contents import ProofEntry
from bundler.model.inspection import VenvView
from bundler.model.lock import Lock
from bundler.model.page_facts import PageFacts, PageSignature
from bundler.model.text import human_size

_STANDING = {
    "stated": '<span class="warn">stated, not checked</span>',
    "verified": '<span class="good">verified</span>',
    "refused": '<span class="bad">does not count</span>',
}


def page_of(found: PageFacts) -> bytes:
    """Return the page."""
    contents = found.bundle.contents
    places = Places.of(found.packages)
    sections = [
        ("trust", "Signatures and how to check", _trust(found)),
        ("changes", "Changes", changes_section(found.diff) if found.diff else ""),
        ("targets", "Targets", _targets(found)),
        ("venvs", "Venvs and their proofs", _venvs(found, places)),
        ("packages", "Packages", packages_section(found, places)),
        ("sizes", "Volumes and sizes", _sizes(found)),
        ("constraints", "Constraint layers", _constraints(found)),
    ]
    shown = [(name, title, body) for name, title, body in sections if body]
    links = "".join(f'<li><a href="#{name}">{text(title)}</a></li>' for name, title, _ in shown)
    title = f"{contents.name} {contents.version}"
    parts = [
        '<a class="skip" href="#main">Skip to the contents</a>',
        f"<header><h1>{text(title)}</h1><p>Bundle {code(contents.id)}</p>{_head(found)}",
        f'<nav aria-label="On this page"><ul>{links}</ul></nav></header>',
        '<main id="main" tabindex="-1"><p id="status" role="status" class="unseen"></p>',
        *(_section(*one) for one in shown),
        f"</main>\n<footer>Made by bundle-build {text(found.tool)} from what the bundle says.</footer>",
    ]
    return document(f"{title}: bundle", "\n".join(parts))


def _section(name: str, title: str, body: str) -> str:
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{text(title)}</h2>{body}</section>'


def _head(found: PageFacts) -> str:
    contents, lock = found.bundle.contents, found.lock
    pairs = [
        ("Sequence", text(contents.sequence)),
        ("Oldest sequence that a site may go back to", text(contents.floor) if contents.floor else ""),
        ("Created", text(iso(contents.created))),
        ("Built by", text(contents.tool)),
        ("Resolved by", text(lock.resolver) if lock else ""),
        ("SHA-256 of SHA256SUMS", code(found.bundle.digest) if found.bundle.digest else ""),
        ("SHA-256 of the manifest's facts", code(lock.manifest) if lock and lock.manifest else ""),
        ("Presumes the bundle with SHA256SUMS", code(contents.base) if contents.base else ""),
    ]
    return facts(pairs)


def _trust(found: PageFacts) -> str:
    if found.inside:
        return (
            "<p>This page is a file of the bundle that it shows. Whoever accepts the bundle's signatures accepts it "
            "too; it cannot name them, nor its own digest. On a repo host, <code>bundle-install check</code> at the "
            "deployment host compares it with what was signed.</p>"
        )
    return _signatures(found) + _how_to_check(found)


def _signatures(found: PageFacts) -> str:
    signatures = found.signatures
    if not signatures:
        return '<p><span class="bad">Nobody has signed this bundle.</span></p>'
    said = (
        f"Checked when this page was made: {found.rule}."
        if found.rule
        else "Nobody checked them when this page was made: the names and keys below are what the files state."
    )
    columns = [Column(title="Signer"), Column(title="Key"), Column(title="Signature"), Column(title="File")]
    table = Table(name="signatures", caption="Signatures", columns=columns, rows=map(_signature, signatures))
    return f"<p>{text(said)}</p>{table.html()}"


def _signature(one: PageSignature) -> str:
    detail = f": {text(one.detail)}" if one.detail else ""
    return row(
        text(one.signer),
        cell(code(one.key) if one.key else "unreadable"),
        cell(_STANDING[one.standing] + detail),
        cell(code(one.name)),
    )


def _how_to_check(found: PageFacts) -> str:
    name = text(found.bundle.contents.id)
    return (
        "<p>This page lies beside the bundle and is not signed: it can be wrong, the bundle cannot. With the "
        "signers' keys, which never come with a bundle, stock tools alone decide:</p>"
        f"<pre><code>sh {name}/verify.sh ALLOWED_SIGNERS {name}</code></pre>"
        "<p>At a site that has trust already:</p>"
        f"<pre><code>bundle-install verify {name}</code></pre>"
        "<p>The digest above, as a site computes it:</p>"
        f"<pre><code>sha256sum {name}/SHA256SUMS</code></pre>"
    )


def _targets(found: PageFacts) -> str:
    columns = [
        Column(title="Target"),
        Column(title="Python"),
        Column(title="glibc at least"),
        Column(title="Venvs", number=True),
        Column(title="Wheels", number=True),
        Column(title="Size of wheels", number=True),
    ]
    rows = (
        row(text(view.entry.name), cell(text(view.entry.python)), cell(text(view.entry.glibc)),
            count(view.venvs), count(view.wheels), size(view.wheel_bytes))
        for view in found.bundle.targets
    )  # fmt: skip
    return Table(name="target-table", caption="Systems that the bundle is for", columns=columns, rows=rows).html()


def _venvs(found: PageFacts, places: Places) -> str:
    columns = [
        Column(title="Venv"),
        Column(title="Target"),
        Column(title="Python"),
        Column(title="Install path"),
        Column(title="Proof"),
        Column(title="Packages", number=True),
        Column(title="Archive", number=True),
        Column(title="Its own", number=True),
        Column(title="Console scripts"),
        *([Column(title="Distro packages")] if _needs_packages(found) else []),
    ]
    caption = "Each archive is put together from layers. Its own: the bytes that no other archive has."
    rows = (_venv(view, places, needs=_needs_packages(found)) for view in found.bundle.venvs)
    table = Table(name="venv-table", caption=caption, columns=columns, rows=rows).html()
    return (table or "<p>The bundle has wheels only.</p>") + _accepted(found)


def _needs_packages(found: PageFacts) -> bool:
    return any(view.entry.runtime_packages for view in found.bundle.venvs)


def _venv(view: VenvView, places: Places, *, needs: bool) -> str:
    venv, number = view.entry, len(view.packages)
    link = f'<a href="#packages"{places.link(venv.name, venv.target)}>{number}</a>'
    return row(
        text(venv.name),
        targets([venv.target]),
        cell(text(venv.python)),
        cell(code(venv.install_path)),
        wide(_proof(venv.proof)),
        f'<td class="n" data-v="{number}">{link}</td>',
        size(view.size),
        size(view.own_size),
        cell(names(venv.console_scripts, "scripts")),
        *([cell(names(venv.runtime_packages, "packages"))] if needs else []),
    )


def _proof(proof: ProofEntry) -> str:
    if proof.level == "none":
        allowed = ", as the manifest allows" if proof.unproved_allowed else ""
        return f'<span class="warn">not proved</span>{allowed}'
    where = {"target": "in the target's own system", "host": "on the build host"}[proof.level]
    if not proof.passed:
        return f'<span class="bad">failed</span> {where}'
    more = [f"{proof.checks} checks"]
    more += [f"{proof.allowed} failures accepted"] if proof.allowed else []
    more += [f"not isolated: {', '.join(proof.unisolated)}"] if proof.unisolated else []
    return f'<span class="good">passed</span> {where}: {text("; ".join(more))}'


def _accepted(found: PageFacts) -> str:
    columns = [Column(title=title) for title in ("Venv", "Target", "Check", "Failure", "Accepted because")]
    rows = (
        row(
            text(one.venv),
            cell(text(one.target)),
            cell(text(one.check)),
            wide(text(one.error)),
            wide(text(one.reason)),
        )
        for one in found.accepted
    )
    return Table(name="accepted", caption="Failures of proofs that were accepted", columns=columns, rows=rows).html()


def _sizes(found: PageFacts) -> str:
    sizes, contents = found.bundle.sizes, found.bundle.contents
    pairs = [("Files of a repo host with all targets", f"{len(contents.files)} files, {human_size(sizes.files)}")]
    if sizes.blobs:
        factor = f"{sizes.files / sizes.blobs:.1f} to 1"
        pairs.append(("Carried, each byte once", human_size(sizes.blobs)))
        pairs.append(("Saved by sharing", f"{human_size(sizes.saved)} ({factor})"))
    if found.bundle.volumes:
        pairs.append(("Volumes on the medium, compressed", human_size(sizes.medium)))
    columns = [
        Column(title="Volume"),
        Column(title="For"),
        Column(title="Blobs", number=True),
        Column(title="Size", number=True),
        Column(title="On the medium when this page was made"),
    ]
    table = Table(name="volumes", caption="Volumes", columns=columns, rows=_volumes(found))
    return facts(pairs) + table.html()


def _volumes(found: PageFacts) -> Iterator[str]:
    for volume in found.bundle.volumes:
        entry = volume.entry
        state = text(volume.state) if volume.state == "present" else f'<span class="bad">{text(volume.state)}</span>'
        yield row(code(entry.name), cell(text(entry.target or "several targets")), count(len(entry.blobs)),
                  size(entry.size), cell(state))  # fmt: skip


def _constraints(found: PageFacts) -> str:
    if found.lock is None:
        return ""
    columns = [Column(title="Layer"), Column(title="From"), Column(title="SHA-256")]
    rows = (row(text(one.name), cell(text(one.location)), cell(code(one.sha256))) for one in found.lock.layers)
    table = Table(name="layers", caption="The first layer that names a package wins", columns=columns, rows=rows)
    return table.html() + _shadowed(found.lock)


def _shadowed(lock: Lock) -> str:
    columns = [Column(title=title) for title in ("Package", "Lost", "Of", "Won", "Of")]
    rows = (
        row(text(one.name), cell(code(one.loser)), cell(text(one.loser_where)), cell(code(one.winner)),
            cell(text(one.winner_where)))
        for one in lock.shadowed
    )  # fmt: skip
    return Table(
        name="shadowed", caption="Constraints that lost to a higher layer", columns=columns, rows=rows
    ).html()
