"""A bounded queue between two threads, which can end, be emptied and be watched for room."""

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Closed(Exception):  # it ends a thread, and is no error
    """The other side is gone: a stage that meets this ends."""


class Channel(Generic[Item]):
    """At most `size` items, in order. Every wait ends when `close` is called."""

    def __init__(self, size: int) -> None:
        self._items: deque[Item] = deque()
        self._size = size
        self._ended = self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        """Wait for room, then add. Raises Closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._size)
            self._add(item)

    def put_newest(self, item: Item) -> int:
        """Add at once; the oldest make room. Returns how many were dropped. Raises Closed."""
        with self._changed:
            dropped = max(0, len(self._items) + 1 - self._size)
            for _ in range(dropped):
                self._items.popleft()
            self._add(item)
        return dropped

    def await_room(self) -> None:
        """Wait until `put` would not. Raises Closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._size)
            if self._closed:
                raise Closed

    def get(self, timeout_s: float | None = None) -> Item | None:
        """The oldest item; None where none came within `timeout_s`. Raises Closed, or EOFError after the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._ended or self._items, timeout_s)
            if self._closed:
                raise Closed
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._ended:
                raise EOFError
        return None

    def end(self) -> None:
        """No more will be put; what is inside can still be taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Drop everything, and let nobody wait."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def _add(self, item: Item) -> None:
        if self._closed:
            raise Closed
        self._items.append(item)
        self._changed.notify_all()
