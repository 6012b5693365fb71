"""How long to wait before trying again."""

from __future__ import annotations


class Backoff:
    """Waits that double: soon at first, because most losses are short; then seldom.

    Parameters
    ----------
    first_s, longest_s : float
        The first wait and the longest.
    """

    def __init__(self, first_s: float = 0.1, longest_s: float = 4.0) -> None:
        self._first_s = self._wait_s = first_s
        self._longest_s = longest_s

    def next_s(self) -> float:
        """Return the next wait, seconds."""
        wait_s, self._wait_s = self._wait_s, min(2 * self._wait_s, self._longest_s)
        return wait_s

    def reset(self) -> None:
        """Begin with the first wait again."""
        self._wait_s = self._first_s
