"""The one table of what ``site.yaml`` may say: for each dataclass its fields, their kinds, words and examples.

The reader, the schema, the sample and the reference page are all made from it. Defaults are those of the dataclasses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from bundler.model import site_kinds as kinds
from bundler.model.site import Admit, Gates, Limits, RepoHost, Retention, ServiceHost, Site, Ssh
from bundler.model.site_kinds import Kind

Model: TypeAlias = type[Any]


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field: one value or object, or ``many``; ``example`` is text as it is written in YAML."""

    kind: Kind | Model
    about: str
    example: str = ""
    many: bool = False

    @property
    def model(self) -> Model | None:
        """Return the dataclass of an object or of a list's objects."""
        return None if isinstance(self.kind, Kind) else self.kind


#: What is common to hosts of both sorts.
_HOST: Mapping[str, Field] = {
    "name": Field(kind=kinds.HOST, about="what messages, logs and receipts call it", example="repo1"),
    "address": Field(kind=kinds.ADDRESS, about="where it is reached; empty: its name", example="10.0.0.11"),
    "port": Field(kind=kinds.PORT, about="port of its SSH server", example="22"),
    "user": Field(kind=kinds.LOGIN, about="who logs in; empty: that of `ssh`", example="deploy"),
    "transport": Field(
        kind=kinds.TRANSPORT,
        about="`ssh`: our own client; `openssh`: the `ssh` program (host CAs, its own configuration is not read);"
        " `local`: this very host",
        example="ssh",
    ),
}

FIELDS: Mapping[Model, Mapping[str, Field]] = {
    Site: {
        "name": Field(kind=kinds.SITE, about="the site's name, which its receipts bear", example="plant-7"),
        "targets": Field(
            kind=kinds.TARGET,
            many=True,
            about="targets that the site has; empty: whatever its repo hosts name, else all of a bundle",
            example="debian-12-x86_64",
        ),
        "repo_hosts": Field(kind=RepoHost, many=True, about="hosts that serve releases"),
        "service_hosts": Field(kind=ServiceHost, many=True, about="hosts that run venvs (`bundle-install venv`)"),
        "ssh": Field(kind=Ssh, about="how to log in"),
        "retention": Field(kind=Retention, about="what stays on repo hosts"),
        "gates": Field(kind=Gates, about="when a release is activated"),
        "limits": Field(kind=Limits, about="how much at a time"),
    },
    RepoHost: {
        **_HOST,
        "root": Field(kind=kinds.ROOT, about="directory that is served", example="/var/www/repo"),
        "owner": Field(kind=kinds.OWNED, about="who owns what is served", example="www-data"),
        "group": Field(kind=kinds.OWNED, about="group of what is served", example="www-data"),
        "targets": Field(
            kind=kinds.TARGET,
            many=True,
            about="targets that it holds; empty: all of the site's",
            example="debian-12-x86_64",
        ),
        "shared_root": Field(
            kind=kinds.LINK_NAME,
            about="hosts that see one file system (GlusterFS) say the same name here: one of them writes",
            example="gluster",
        ),
        "url": Field(
            kind=kinds.URL,
            about="where clients read it, for `check --http`",
            example='"http://repo1.example:8181/"',
        ),
        "admit": Field(kind=Admit, about="a second login that checks and activates, where the site wants that"),
    },
    Admit: {
        "user": Field(kind=kinds.LOGIN, about="who checks and activates: not who pushes", example="bundle-admit"),
        "identity": Field(
            kind=kinds.FILE,
            about="private key; empty: that of `ssh`",
            example="/etc/bundle-install/admit_ed25519",
        ),
        "command": Field(
            kind=kinds.COMMAND,
            about="what sshd runs for this key (`command=` or ForceCommand): then no script is sent",
            example="/usr/local/sbin/bundle-admit",
        ),
    },
    ServiceHost: {
        **_HOST,
        "name": Field(kind=kinds.HOST, about="what messages, logs and receipts call it", example="compute1"),
        "address": Field(kind=kinds.ADDRESS, about="where it is reached; empty: its name", example="10.0.0.21"),
        "target": Field(kind=kinds.TARGET, about="its target; empty: it is asked", example="debian-12-x86_64"),
    },
    Ssh: {
        "user": Field(kind=kinds.LOGIN, about="who logs in where a host says nothing else", example="root"),
        "identity": Field(
            kind=kinds.FILE,
            about="private key; empty: the agent's keys",
            example="/etc/bundle-install/id_ed25519",
        ),
        "agent": Field(kind=kinds.BOOLEAN, about="whether keys of the running agent are offered", example="true"),
        "known_hosts": Field(
            kind=kinds.FILE,
            about="host keys, as `ssh-keyscan` writes them and a person compared them; none is ever learned",
            example="/etc/bundle-install/known_hosts",
        ),
        "jump": Field(kind=kinds.JUMP, about="host that all others are reached through", example="ops@10.0.0.1:22"),
        "connect_timeout": Field(
            kind=kinds.number(1, 3600), about="seconds until a host counts as dead", example="15"
        ),
        "keepalive": Field(
            kind=kinds.number(0, 3600),
            about="seconds between signs of life on an idle connection; 0: none",
            example="15",
        ),
    },
    Retention: {
        "keep": Field(
            kind=kinds.number(1, 1000),
            about="releases of one name and version that stay beside the active one",
            example="2",
        ),
        "pinned": Field(
            kind=kinds.BUNDLE,
            many=True,
            about="bundles that `prune` never removes",
            example="openstack-2026.1-1795123456",
        ),
    },
    Gates: {
        "max_failed": Field(
            kind=kinds.number(0, 100_000),
            about="repo hosts that may fail; with more, nothing is activated anywhere",
            example="0",
        ),
    },
    Limits: {
        "connections": Field(kind=kinds.number(1, 1000), about="hosts at a time", example="20"),
        "bandwidth": Field(
            kind=kinds.BYTES, about="bytes a second to all hosts together; 0: no limit", example="50M"
        ),
        "retries": Field(kind=kinds.number(0, 100), about="further tries after a cut connection", example="5"),
        "max_age_days": Field(
            kind=kinds.number(0, 36_500),
            about="bundles older than this are refused, by this host's clock; 0: no limit",
            example="0",
        ),
    },
}

#: What a first site.yaml has beside the required fields.
SHOWN = frozenset({(Site, "repo_hosts"), (RepoHost, "address"), (RepoHost, "owner"), (RepoHost, "group")})


def fields_of(model: Model) -> Mapping[str, Field]:
    """Return the fields of ``model`` in the dataclass's order."""
    table = FIELDS[model]
    return {field.name: table[field.name] for field in dataclasses.fields(model)}


def default_of(model: Model, name: str) -> Any:
    """Return the default of a field; ``dataclasses.MISSING`` where it is required."""
    field = next(one for one in dataclasses.fields(model) if one.name == name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
