"""What every sensor made of software can do."""

from __future__ import annotations

from typing import Protocol

from talaria_bridge.samples import Vec3

Outgoing = list[tuple[str, bytes]]
"""Stream (a key of ``BleProfile.notify``; empty on a wire) and one notification's bytes, in order."""


class VirtualDevice(Protocol):
    """A vendor's device made of software; sans-IO.

    Attributes
    ----------
    streaming : bool
        Whether it has been started.
    """

    streaming: bool

    def write(self, data: bytes, characteristic: str = "") -> Outgoing:
        """Take what the host wrote, to a GATT characteristic (UUID) or on the wire; return replies."""

    def sample(self, device_s: float, acc_ms2: Vec3, gyr_rads: Vec3) -> Outgoing:
        """Return what it sends for one measurement: nothing until it was started."""
