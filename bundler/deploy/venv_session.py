"""One service host: its connection, and trying again after a cut."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import TypeVar

from bundler.clock import pause
from bundler.deploy.plan import is_away
from bundler.errors import BundlerError, Busy
from bundler.model.site import ServiceHost, Site
from bundler.transport.drivers import connect
from bundler.transport.limiter import Limiter
from bundler.transport.port import Endpoint, Transport
from bundler.transport.retry import delays

T = TypeVar("T")
_random = random.SystemRandom().random


class ServiceSession:
    """A host that is talked to. The connection opens when it is first needed. One thread at a time uses it."""

    def __init__(self, host: ServiceHost, site: Site, limiter: Limiter) -> None:
        self._host = host
        self._site = site
        self._limiter = limiter
        self._transport: Transport | None = None
        self._met = False
        self._progressed = False
        self._reached: dict[str, int] = {}

    @property
    def transport(self) -> Transport:
        """Return the connection.

        Raises:
            HostUnreachable, HostKeyRefused: It cannot be had.
        """
        if self._transport is None:
            self._transport = connect(self._endpoint(), self._host.transport, self._site.ssh, self._limiter)
            self._met = True
        return self._transport

    def progress(self, path: str, offset: int) -> None:
        """Note how much of a file is there; more than before is progress, which a later try need not do again."""
        self._progressed |= offset > self._reached.get(path, 0)
        self._reached[path] = offset

    def close(self) -> None:
        """End the connection; the next use opens it anew."""
        if self._transport is not None:
            with contextlib.suppress(BundlerError):
                self._transport.close()
        self._transport = None

    def persist(self, action: Callable[[ServiceSession], T], on_retry: Callable[[BundlerError], None]) -> T:
        """Run ``action`` until it is through, connecting anew after a cut; ``action`` asks what is there by itself.

        A host that never answered is not tried again. Tries are counted from one after any progress.

        Raises:
            BundlerError: A refusal, or the last failure when the site's tries are used up.
        """
        waits = delays(self._site.limits.retries, _random)
        failures = 0
        while True:
            self._progressed = False
            try:
                return action(self)
            except BundlerError as error:
                failures = 0 if self._progressed else failures
                if not self._may_pass(error) or failures == len(waits):
                    raise
                on_retry(error)
            finally:
                self.close()
            pause(waits[failures])
            failures += 1

    def _may_pass(self, error: BundlerError) -> bool:
        """Return whether a later try may go better. What we began there before a cut may still be running."""
        return self._met and (is_away(error) or isinstance(error, Busy))

    def _endpoint(self) -> Endpoint:
        host = self._host
        return Endpoint(
            name=host.name,
            address=host.address or host.name,
            port=host.port,
            user=host.user or self._site.ssh.user,
            identity=self._site.ssh.identity,
        )
