"""The resolver driver that runs pip: for the Python of this host only, which evaluates the markers itself.

pip evaluates the markers of another target for the running Python, merges several indexes into one, and cannot bind
a package to an index: such requests are refused.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from packaging.utils import canonicalize_name

from bundler.errors import CommandFailed, Problem, ResolutionFailed, UsageError
from bundler.model.index import IndexConfig
from bundler.model.lock import Artifact, GitSource
from bundler.model.target import Target
from bundler.process import Command, redact, run
from bundler.resolve.pip_messages import CONFLICT, is_cut, read_conflict, refusals, yanked_reasons
from bundler.resolve.port import Resolution, Resolved, ResolveRequest
from bundler.resolve.tool import environment, failure, refused, secrets_of
from bundler.resolve.uv_project import artifact, without_credentials

_PROBE = "import platform, sys; print(platform.machine(), '.'.join(map(str, sys.version_info[:3])), sys.platform)"
_USE_UV = "use the resolver uv, which can"


class PipResolver:
    """Resolve for this host's own target with `pip install --dry-run --report`."""

    name = "pip"

    @cached_property
    def version(self) -> str:
        """Return pip's version."""
        return version("pip")

    def resolve(self, request: ResolveRequest) -> Resolution:
        """Resolve ``request``; see :class:`bundler.resolve.port.Resolver`.

        Previous versions are kept all together or, where they no longer fit, not at all.
        """
        target = check(request)
        if request.preferred:
            pins = "".join(f"{name}=={pin}\n" for name, pin in sorted(request.preferred.items()))
            try:
                return self._resolve(request, target, pins)
            except ResolutionFailed:
                pass
        return self._resolve(request, target, "")

    def _resolve(self, request: ResolveRequest, target: Target, pins: str) -> Resolution:
        with tempfile.TemporaryDirectory(prefix="bundle-resolve-") as name:
            directory = Path(name)
            env = environment(request.indexes, {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INPUT": "1"})
            secrets = secrets_of(env)
            argv = [*_pip(target.python.executable), *_options(request, directory, pins)]
            done = run(Command(argv=argv, env=env, cwd=directory, secrets=secrets), check=False)
            if done.returncode != 0:
                text = redact((done.stdout + done.stderr).decode("utf-8", "replace"), secrets)
                raise _error(text, request.indexes)
            report = json.loads((directory / "report.json").read_bytes())
        reasons = yanked_reasons(done.stderr.decode("utf-8", "replace"))
        found = [_resolved(item, reasons) for item in report["install"]]
        return Resolution(
            packages=tuple(sorted(found, key=lambda one: one.name)),
            warnings=tuple(f"{one.name} {one.version} is yanked: {one.yanked}" for one in found if one.yanked),
        )


def check(request: ResolveRequest) -> Target:
    """Return the one target, or refuse what pip cannot honour.

    Raises:
        UsageError: Everything of the request that pip would ignore or get wrong.
    """
    problems = list(_index_problems(request.indexes))
    names = sorted({target.name for target in request.targets})
    if len(names) != 1:
        problems.append(Problem(where="targets", what=f"pip resolves for one target, not for {', '.join(names)}"))
    problems += _target_problems(request.targets[0])
    if problems:
        raise UsageError("the resolver pip cannot do this", hint=_USE_UV, problems=problems)
    return request.targets[0]


def _index_problems(config: IndexConfig) -> Iterable[Problem]:
    for name, index in sorted(config.bound().items()):
        yield Problem(where=f"index {index.name}", what=f"pip cannot bind {name} to an index")
    if len(config.indexes) > 1:
        what = "pip takes the newest version of any index: a namesake could be taken"
        yield Problem(where="indexes", what=what)


def _target_problems(target: Target) -> list[Problem]:
    executable = target.python.executable
    try:
        told = run(Command(argv=[executable, "-I", "-c", _PROBE]), timeout=60).text.split()
    except (CommandFailed, FileNotFoundError, Exception) as error:  # noqa: BLE001 - any failure means: not here
        return [Problem(where=target.name, what=f"its interpreter {executable} does not run here: {error}")]
    wanted = [target.arch, target.python.full_version, "linux"]
    if told == wanted:
        return []
    return [Problem(where=target.name, what=f"is {' '.join(wanted)}, but {executable} here is {' '.join(told)}")]


def _pip(interpreter: str) -> list[str]:
    return [sys.executable, "-m", "pip", "--python", interpreter, "--isolated", "--disable-pip-version-check"]


def _options(request: ResolveRequest, directory: Path, pins: str) -> list[str]:
    index = _index_line(request.indexes)
    for name, text in (
        ("requirements.txt", "\n".join((*request.requirements, index)) + "\n"),
        ("constraints.txt", request.constraints + "\n" + pins),
        ("build-constraints.txt", request.build_constraints),
    ):
        (directory / name).write_text(text, encoding="utf-8")
    argv = ["install", "--dry-run", "--ignore-installed", "--progress-bar", "off", "--no-color"]
    argv += ["--break-system-packages", "--report", "report.json", "--requirement", "requirements.txt"]
    argv += ["--constraint", "constraints.txt", "--build-constraint", "build-constraints.txt"]
    return [*argv, *_index_options(request.indexes)]


def _index_options(config: IndexConfig) -> list[str]:
    argv: list[str] = []
    if not config.indexes:
        argv.append("--no-index")
    for folder in config.folders:
        argv += ["--find-links", str(folder.resolve())]
    connection = {"--cert": config.cert, "--client-cert": config.client_cert, "--proxy": config.proxy}
    argv += [part for option, value in connection.items() if value for part in (option, value)]
    if config.env.get("UV_HTTP_TIMEOUT"):
        argv += ["--timeout", config.env["UV_HTTP_TIMEOUT"]]
    for host in config.env.get("UV_INSECURE_HOST", "").split():
        argv += ["--trusted-host", host]
    return argv


def _index_line(config: IndexConfig) -> str:
    """Return the option that names the index, for a private file: a command line is seen by all users."""
    index = config.indexes[0] if config.indexes else None
    if index is None or index.url is None:
        return ""
    prefix = "UV_INDEX_" + re.sub(r"[^A-Za-z0-9]", "_", index.name).upper()
    user, password = (
        config.env.get(name) or os.environ.get(name, "") for name in (f"{prefix}_USERNAME", f"{prefix}_PASSWORD")
    )
    parts = urlsplit(index.url)
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    return "--index-url " + parts._replace(netloc=login + parts.netloc).geturl()


def _resolved(item: Mapping[str, Any], reasons: Mapping[str, str]) -> Resolved:
    metadata, info = item["metadata"], item["download_info"]
    name = str(canonicalize_name(metadata["name"]))
    yanked = reasons.get(name, "no reason given") if item.get("is_yanked") else ""
    base = Resolved(name=name, version=str(metadata["version"]), yanked=yanked)
    if "vcs_info" in info:
        return replace(base, git=_git(info))
    if "dir_info" in info:
        return replace(base, directory=Path(unquote(urlsplit(info["url"]).path)))
    found: Artifact | None = artifact(info["url"], None, info.get("archive_info", {}).get("hashes", {}))
    if found is not None and found.name.endswith(".whl"):
        return replace(base, wheels=(found,))
    return replace(base, sdist=found)


def _git(info: Mapping[str, Any]) -> GitSource:
    return GitSource(
        url=without_credentials(info["url"]),
        commit=info["vcs_info"]["commit_id"],
        requested_revision=info["vcs_info"].get("requested_revision", ""),
        subdirectory=info.get("subdirectory", ""),
    )


def _error(text: str, indexes: IndexConfig) -> Exception:
    found = refusals(text)
    if found:
        return refused(indexes, found)
    if is_cut(text):
        return failure("pip", text)
    lines: Sequence[str] = [line for line in text.splitlines() if not line.startswith("WARNING:")]
    problems = read_conflict(lines)
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if not problems and not any(CONFLICT in line for line in errors):
        return failure("pip", "\n".join(errors or lines[-20:]))
    shown = [line for line in errors if "for help visit" not in line]
    return ResolutionFailed(
        "no versions satisfy everything that is asked for\n" + "\n".join(shown), problems=problems
    )
