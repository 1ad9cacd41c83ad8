"""Which store roots are open in the signer, and what it takes to open one."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Final

from countersign.keystores import roots
from countersign.keystores.kek import KekProvider, MoreShares
from countersign.keystores.memory import MAX_ROOTS, LockedPage, wipe
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import Buffer

log = logging.getLogger("countersign.signer")

_NOT_APART: Final = (
    "level G2 takes a root that names an authoriser of its own, root {} names the server's:"
    " countersign keystore rotate-root --authoriser FILE"
)


class OpenRoots:
    """The roots of one store, opened into ``page`` with the key-encryption key that ``kek`` gives.

    ``only_apart``: the newest has to name an authoriser in a process of its own. ``before_opening`` is called before
    each is opened.
    """

    def __init__(
        self,
        page: LockedPage,
        kek: KekProvider,
        *,
        only_apart: bool,
        before_opening: Callable[[], None] = lambda: None,
    ) -> None:
        self._page = page
        self._kek = kek
        self._only_apart = only_apart
        self._before_opening = before_opening
        self.store_id = ""
        # Where in the page each open root is, by its version.
        self.slots: dict[int, int] = {}
        # The newest root says whose grants count and who gets recovery copies.
        self.authorisers: tuple[bytes, ...] = ()
        self.recovery_recipients: tuple[str, ...] = ()
        self._waiting: list[roots.WrappedRoot] = []
        self._retired: set[int] = set()

    @property
    def newest(self) -> int:
        """Version of the newest open root; there has to be one."""
        return max(self.slots)

    @property
    def handed_over(self) -> bool:
        """Whether there are wrapped roots that could be opened."""
        return bool(self._waiting)

    def close(self) -> None:
        """Forget which are open, when the page was wiped."""
        self.slots.clear()
        self.authorisers = ()

    def slot_of(self, version: int, reason: str) -> int | Refusal:
        """Where in the page a root is; ``reason``: why none could be opened last."""
        slot = self.slots.get(version)
        if slot is None and version in self._retired:
            return Refusal("Unavailable", f"root version {version} is retired; the record was sealed anew")
        if slot is None and any(wrapped.root_version == version for wrapped in self._waiting):
            return Refusal("Unavailable", f"root version {version} is not open yet: {reason}")
        if slot is None:
            return Refusal("NotFound", f"root version {version} is not loaded")
        return slot

    def hand_over(self, blobs: Iterable[bytes]) -> set[int] | Refusal:
        """Take wrapped roots in the place of those before; their versions. Nothing is opened yet."""
        parsed: list[roots.WrappedRoot] = []
        for blob in blobs:
            wrapped = roots.parse_root(blob)
            if isinstance(wrapped, Refusal):
                return wrapped
            parsed.append(wrapped)
        stores = {wrapped.store_id for wrapped in parsed} | ({self.store_id} if self.slots else set())
        if len(stores) != 1:
            return Refusal("Denied", f"the signer serves one store, not {sorted(stores)}")
        self._waiting = [wrapped for wrapped in parsed if wrapped.root_version not in self._retired]
        return {wrapped.root_version for wrapped in parsed}

    def open(self, secret: Buffer) -> dict[int, roots.OpenedRoot] | Refusal:
        """Open those that were handed over and are not open yet, all or none; an open one stays as it is.

        Gives those that were opened now.
        """
        opened: dict[int, roots.OpenedRoot] = {}
        slots = dict(self.slots)
        for version in sorted({wrapped.root_version for wrapped in self._waiting} - slots.keys()):
            slot = next(free for free in range(MAX_ROOTS + 1) if free not in slots.values())
            full = Refusal("Unsupported", f"a store has at most {MAX_ROOTS} roots")
            result = full if slot == MAX_ROOTS else self._open_root(version, secret, self._page.root(slot))
            if isinstance(result, Refusal):
                for unused in opened:
                    wipe(self._page.root(slots[unused]))
                return result
            slots[version], opened[version] = slot, result
        newest = opened.get(max(slots))
        refusal = self._unvouched(slots, opened)
        if refusal is None and self._only_apart and newest is not None and not newest.authoriser_apart:
            refusal = Refusal("Denied", _NOT_APART.format(max(slots)))
        if refusal is not None:
            for version in opened:
                wipe(self._page.root(slots[version]))
            return refusal
        if newest is not None:
            self.authorisers = newest.authorisers
            self.recovery_recipients = newest.recovery_recipients
            self.store_id = newest.store_id
            log.info("unsealed store %s, root version %d", self.store_id, max(slots))
        self.slots = slots
        return opened

    def retire(self, listed: set[int]) -> None:
        """Wipe the roots that a newer one has replaced: they are no longer handed over, and it is open."""
        newest = max(listed)
        if newest not in self.slots:
            return
        for version in [each for each in self.slots if each < newest and each not in listed]:
            wipe(self._page.root(self.slots.pop(version)))
            # Until the next start: who kept the old wrap can't bring it back in.
            self._retired.add(version)
            log.info("wiped retired root version %d", version)

    def _unvouched(self, slots: dict[int, int], opened: dict[int, roots.OpenedRoot]) -> Refusal | None:
        """Why one of the roots just opened does not follow from the one before it; the oldest of all need not."""
        for before, version in pairwise(sorted(slots)):
            if version not in opened and before in opened:
                return Refusal("Denied", f"root {before} is older than root {version}, which was open before it came")
            if version in opened:
                root = opened[version]
                expected = roots.vouch_for(self._page.root(slots[before]), root.store_id, root.substance)
                if not hmac.compare_digest(expected, root.vouch):
                    return Refusal("Denied", f"root {version} does not follow from root {before}: it is a stranger's")
        return None

    def _open_root(self, version: int, secret: Buffer, root_key: memoryview) -> roots.OpenedRoot | Refusal:
        """Open one root by whichever of its wraps is this provider's."""
        self._before_opening()
        wraps = [wrapped for wrapped in self._waiting if wrapped.root_version == version]
        mine = [wrapped for wrapped in wraps if wrapped.provider == self._kek.name]
        refusals: list[Refusal] = []
        for wrapped in mine or wraps[:1]:
            result = roots.open_root(wrapped, self._kek, secret, root_key, self._page.scratch)
            if not isinstance(result, Refusal):
                return result
            refusals.append(result)
        return next((each for each in refusals if isinstance(each, MoreShares)), refusals[0])
