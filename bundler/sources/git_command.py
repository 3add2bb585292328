"""How git is run: never asking, no hooks, no foreign helpers; the user's proxies, CAs and insteadOf stay."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from bundler.errors import CommandFailed, GitError
from bundler.process import Command, Completed, run
from bundler.sources.credentials import Credentials, Login, redact_text, redact_url, split_login
from bundler.sources.retry import Retry, Transient, persist

#: Settings of every call. Nothing of the user's may change bytes, run programs or collect garbage meanwhile.
_ALWAYS = {
    "advice.detachedHead": "false",
    "core.attributesFile": "/dev/null",
    "core.autocrlf": "false",
    "core.excludesFile": "/dev/null",
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.symlinks": "true",
    "gc.auto": "0",
    "fetch.unpackLimit": "1",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "init.defaultBranch": "none",
    "init.templateDir": "",
    "maintenance.auto": "false",
    "protocol.file.allow": "always",
    "safe.directory": "*",
}
#: What a calling git (a hook, say) leaves behind and would send us elsewhere.
_FOREIGN = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_TEMPLATE_DIR",
    "GIT_WORK_TREE",
)
#: What git says when another attempt cannot help.
_FINAL = re.compile(
    r"not found|does not exist|does not appear to be a git repository|authentication failed|could not read"
    r" (username|password)|permission denied|access denied|not our ref|couldn't find remote ref|unadvertised object"
    r"|returned error: 40[0-9]|certificate|transport '.*' not allowed|dubious ownership|no such remote ref",
    re.IGNORECASE,
)
#: What git adds to every failure.
_NOISE = re.compile(
    r"Could not read from remote repository|Please make sure you have the correct|and the repository exists"
)
_LOGIN = re.compile(r"authentication|username|password|denied|error: 40[13]", re.IGNORECASE)
_ANSWER = """f() { printf 'username=%s\\npassword=%s\\n' "$BUNDLE_GIT_USERNAME" "$BUNDLE_GIT_PASSWORD"; }; f"""
_SCP = re.compile(r"[^/\s:]+:(?!//)\S+")
_URL = re.compile(r"(https?|ssh|git|file)://\S+")


def check_url(url: str) -> str:
    """Return ``url`` if git may be given it.

    Raises:
        GitError: It is no https, http, ssh, git or file URL, no path, or it holds a password.
    """
    path = url.startswith("/") or _SCP.fullmatch(url)
    if url.startswith("-") or not (path or _URL.fullmatch(url)):
        raise GitError(f"{redact_url(url)} is no repository", hint="use an https, ssh, git or file URL")
    login = None if path else split_login(url)[1]
    if login is not None and login.password:
        raise GitError(
            f"{redact_url(url)} holds a password", hint="put it into ~/.netrc, a keyring or git's credential helper"
        )
    return url


def is_local(url: str) -> bool:
    """Return whether a repository is on this machine."""
    return url.startswith(("/", "file:"))


class Git:
    """Run git commands; network commands with retries and the credentials of the URL's host."""

    def __init__(self, credentials: Credentials, retry: Retry, stop: threading.Event) -> None:
        self._credentials = credentials
        self._retry = retry
        self._stop = stop

    def local(self, *arguments: str, cwd: Path | None = None, check: bool = True) -> Completed:
        """Run a command that needs no network, without the user's configuration."""
        env = {**_environment(), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
        return run(Command(argv=_argv(arguments), env=env, cwd=cwd), check=check)

    def remote(self, url: str, *arguments: str, before: Callable[[], object] = lambda: None) -> Completed:
        """Run a command that talks to ``url``; ``before`` is called ahead of every attempt.

        Raises:
            GitError: It failed for good.
        """

        def attempt() -> Completed:
            before()
            try:
                return self._ask(url, arguments)
            except CommandFailed as error:
                failure = _failure(url, error)
                if _FINAL.search(error.output) or self._stop.is_set():
                    raise failure from error
                raise Transient(failure) from error

        return persist(self._retry, attempt, self._stop)

    def _ask(self, url: str, arguments: Sequence[str]) -> Completed:
        """Run it with what is known for the host; after a refusal the keyring may have an answer."""
        web = url.startswith(("http:", "https:"))
        login = self._credentials.known(url) if web else None
        try:
            return self._run(url, arguments, login)
        except CommandFailed as error:
            if login or not web or not _LOGIN.search(error.output):
                raise
            login = self._credentials.from_keyring(url)
            if login is None:
                raise
        return self._run(url, arguments, login)

    def _run(self, url: str, arguments: Sequence[str], login: Login | None) -> Completed:
        env = {**_environment(), **(_helper(url, login) if login else {})}
        return run(Command(argv=_argv(arguments), env=env, secrets=self._credentials.secrets()))


def _helper(url: str, login: Login) -> dict[str, str]:
    """Return configuration by which git gets a password for this host only, in no process list."""
    place = "/".join(url.split("/", 3)[:3])
    count = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    return {
        "GIT_CONFIG_COUNT": str(count + 1),
        f"GIT_CONFIG_KEY_{count}": f"credential.{place}.helper",
        f"GIT_CONFIG_VALUE_{count}": "!" + _ANSWER,
        "BUNDLE_GIT_USERNAME": login.username,
        "BUNDLE_GIT_PASSWORD": login.password,
    }


def _argv(arguments: Sequence[str]) -> list[str]:
    settings = [part for key, value in _ALWAYS.items() for part in ("-c", f"{key}={value}")]
    return ["git", *settings, *arguments]


def _environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    return {
        "GIT_ASKPASS": "",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
        **env,
        "GCM_INTERACTIVE": "never",
        "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file",
        "GIT_DEFAULT_HASH": "sha1",
        "GIT_DEFAULT_REF_FORMAT": "files",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        "SSH_ASKPASS_REQUIRE": "never",
    }


def _failure(url: str, error: CommandFailed) -> GitError:
    lines = [line.strip() for line in redact_text(error.output).splitlines()]
    said = " ".join([line for line in lines if line and not _NOISE.search(line)][-3:]) or f"status {error.returncode}"
    hint = "check the URL and the network, then run again"
    if _LOGIN.search(said):
        hint = "if it needs a password, put the host into ~/.netrc, a keyring or git's credential helper"
    return GitError(f"{redact_url(url)}: {said}", hint=hint)
