"""One repo host: its connections, the conversations on them, and trying again after a cut."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from bundler.deploy.plan import is_away
from bundler.errors import BundlerError, Busy
from bundler.model.site import RepoHost, Site
from bundler.repohost import releases
from bundler.repohost.wire import Wire, WireOptions, open_wire
from bundler.transport.drivers import connect
from bundler.transport.limiter import Limiter
from bundler.transport.port import Endpoint, Transport
from bundler.transport.retry import delays

T = TypeVar("T")
Role = Literal["push", "admit"]
_random = random.SystemRandom().random


class Session:
    """A host that is talked to. Connections open when they are first needed. One thread at a time uses it."""

    def __init__(
        self,
        host: RepoHost,
        site: Site,
        limiter: Limiter,
        stop: threading.Event,
        distrusted: Sequence[str] = (),
    ) -> None:
        self.host = host
        self._site = site
        self._limiter = limiter
        self._stop = stop
        self._distrusted = distrusted
        self._transports: dict[Role, Transport] = {}
        self._wires: dict[Role, Wire] = {}
        self._met = False
        #: Whether anything was achieved since the last failure.
        self.progressed = False

    @property
    def push(self) -> Wire:
        """Return the conversation that takes content; the same as :attr:`admit` unless the site separates them.

        Raises:
            HostUnreachable, HostKeyRefused: It cannot be had.
        """
        return self._wire("push")

    @property
    def admit(self) -> Wire:
        """Return the conversation that checks and activates.

        Raises:
            HostUnreachable, HostKeyRefused: It cannot be had.
        """
        return self._wire("admit" if self.host.admit else "push")

    def close(self) -> None:
        """End all connections; the next use opens them anew."""
        for wire in self._wires.values():
            with contextlib.suppress(BundlerError):
                wire.close()
        for transport in self._transports.values():
            with contextlib.suppress(BundlerError):
                transport.close()
        self._wires.clear()
        self._transports.clear()

    def persist(self, action: Callable[[Session], T], on_retry: Callable[[BundlerError], None]) -> T:
        """Run ``action`` until it is through, connecting anew after a cut; ``action`` asks what is there by itself.

        A host that never answered is not tried again. Tries are counted from one after any progress.

        Raises:
            BundlerError: A refusal, or the last failure when the site's tries are used up.
        """
        waits = delays(self._site.limits.retries, _random)
        failures = 0
        while True:
            self.progressed = False
            try:
                return action(self)
            except BundlerError as error:
                self.close()
                failures = 0 if self.progressed else failures
                if not self._may_pass(error) or failures == len(waits):
                    raise
                on_retry(error)
                if self._stop.wait(waits[failures]):
                    raise
                failures += 1

    def _may_pass(self, error: BundlerError) -> bool:
        """Return whether a later try may go better. Our own cut conversation may still hold the host's lock."""
        return self._met and (is_away(error) or isinstance(error, Busy))

    def _wire(self, role: Role) -> Wire:
        if role not in self._wires:
            transport = self._transports[role] = connect(
                self._endpoint(role), self.host.transport, self._site.ssh, self._limiter
            )
            wire = open_wire(transport, self._options(role))
            self._met = True
            # Whoever judges hears first what counts less here than by its own trust.
            if self._distrusted and (role == "admit" or not self.host.admit):
                releases.distrust(wire, self._distrusted)
            self._wires[role] = wire
        return self._wires[role]

    def _endpoint(self, role: Role) -> Endpoint:
        host, admit = self.host, self.host.admit
        separate = admit if role == "admit" else None
        return Endpoint(
            name=host.name,
            address=host.address or host.name,
            port=host.port,
            user=separate.user if separate else host.user or self._site.ssh.user,
            identity=(separate.identity if separate else "") or self._site.ssh.identity,
        )

    def _options(self, role: Role) -> WireOptions:
        host, admit = self.host, self.host.admit
        return WireOptions(
            root=host.root,
            owner=host.owner,
            group=host.group,
            command=admit.command if admit and role == "admit" else "",
            role=role if admit else "both",
        )
