"""Who waits, and who is next: by priority, then in turn between flows, then first come, first served."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["FairQueue"]

T = TypeVar("T", bound=Hashable)
Flow = OrderedDict[T, None]


class FairQueue(Generic[T]):
    """Waiters that share one upstream; every step is O(1), or O(log p) where p priorities are in use.

    A lower *priority* is served first. Within a priority each *flow* (a run, a client) gives one waiter in its turn, so
    that a flow with a thousand waiters does not shut out one with three.
    """

    __slots__ = ("_flows", "_order", "_places")

    def __init__(self) -> None:
        self._flows: dict[int, OrderedDict[Hashable, Flow[T]]] = {}
        self._order: list[int] = []
        self._places: dict[T, tuple[int, Hashable]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, waiter: T) -> bool:
        return waiter in self._places

    def push(self, waiter: T, priority: int, flow: Hashable) -> None:
        """*waiter* joins the end of its flow."""
        flows = self._flows.get(priority)
        if flows is None:
            flows = self._flows[priority] = OrderedDict()
            heapq.heappush(self._order, priority)
        line = flows.get(flow)
        if line is None:
            line = flows[flow] = OrderedDict()
        line[waiter] = None
        self._places[waiter] = (priority, flow)

    def peek(self) -> T:
        """The one who is next; there must be one."""
        flows = self._flows[self._order[0]]
        return next(iter(next(iter(flows.values()))))

    def pop(self) -> T:
        """Take out the one who is next; its flow goes to the back of its priority."""
        waiter = self.peek()
        priority, flow = self._places[waiter]
        self.discard(waiter)
        flows = self._flows.get(priority)
        if flows is not None and flow in flows:
            flows.move_to_end(flow)
        return waiter

    def discard(self, waiter: T) -> None:
        """*waiter* gave up; one that does not wait is ignored."""
        place = self._places.pop(waiter, None)
        if place is None:
            return
        priority, flow = place
        flows = self._flows[priority]
        line = flows[flow]
        del line[waiter]
        if line:
            return
        del flows[flow]
        if not flows:
            del self._flows[priority]
            # Priorities are few and empty ones leave rarely, so a linear removal beats tombstones.
            self._order.remove(priority)
            heapq.heapify(self._order)
