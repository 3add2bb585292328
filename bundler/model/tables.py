"""What a repo host of one target must hold, for POSIX sh and coreutils: no parser, no Python.

    release.txt              name, version, sequence, floor, created, and a line "target <name>" for each target
    files-<target>.sha256    <sha256>  <path>                     every file, for ``sha256sum -c``
    blobs-<target>.sha256    <sha256>  blobs/<sha256>             every blob they are made of, likewise
    assemble-<target>.tsv    file <path> <octal mode> <owner class> <blob> <blob> …
                             link <path> 0777         <owner class> <relative target>

Columns of the last are separated by one tab, blobs by one space. Paths have neither (:mod:`bundler.model.paths`).
The owner class is ``root``: owned by root, served read-only.
"""

from __future__ import annotations

from bundler.model.contents import Contents, FileEntry

OWNER_CLASS = "root"


def table_names(target: str) -> tuple[str, str, str]:
    """Return the names of the three tables of ``target``."""
    return f"files-{target}.sha256", f"blobs-{target}.sha256", f"assemble-{target}.tsv"


def make_tables(contents: Contents, target: str) -> dict[str, bytes]:
    """Return name → bytes of the tables of ``target``."""
    files = sorted((file for file in contents.files if target in file.targets), key=lambda file: file.path)
    blobs = sorted({digest for file in files for digest in file.blobs})
    rows = [(file.path, _file_row(file)) for file in files]
    rows += [
        (link.path, f"link\t{link.path}\t0777\t{OWNER_CLASS}\t{link.to}\n")
        for link in contents.links
        if target in link.targets
    ]
    texts = (
        "".join(f"{file.sha256}  {file.path}\n" for file in files),
        "".join(f"{digest}  blobs/{digest}\n" for digest in blobs),
        "".join(row for _, row in sorted(rows)),
    )
    return {name: text.encode("utf-8") for name, text in zip(table_names(target), texts, strict=True)}


def _file_row(file: FileEntry) -> str:
    return f"file\t{file.path}\t{file.mode:04o}\t{OWNER_CLASS}\t{' '.join(file.blobs)}\n"


def release_facts(contents: Contents) -> bytes:
    """Return the bytes of ``release.txt``: one word and one value a line."""
    lines = [
        f"name {contents.name}",
        f"version {contents.version}",
        f"sequence {contents.sequence}",
        f"floor {contents.floor}",
        f"created {contents.created}",
        *(f"target {target.name}" for target in contents.targets),
    ]
    return "".join(f"{line}\n" for line in lines).encode("utf-8")
