"""This host itself: a repo on the deployment host needs no ssh."""

from __future__ import annotations

from collections.abc import Sequence

from bundler.transport.limiter import Limiter
from bundler.transport.pipes import PipeChannel
from bundler.transport.port import PATIENCE, Channel, Endpoint


class LocalTransport:
    """Runs commands here, as whoever we are; there is nothing to connect to."""

    def __init__(self, endpoint: Endpoint, limiter: Limiter, *, patience: float = PATIENCE) -> None:
        self._label = endpoint.name
        self._limiter = limiter
        self._patience = patience
        self._channels: list[PipeChannel] = []

    @property
    def label(self) -> str:
        """Return what messages call the host."""
        return self._label

    def open(self, argv: Sequence[str]) -> Channel:
        """Run a command."""
        channel = PipeChannel(argv, label=self._label, patience=self._patience, limiter=self._limiter)
        self._channels.append(channel)
        return channel

    def close(self) -> None:
        """End every command."""
        for channel in self._channels:
            channel.close()
