"""Which of the new boxes is which of the old ones: the pairs that cost least in all."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Pairs = list[tuple[int, int]]


def assign(cost: Floats, limit: float) -> Pairs:
    """Pairs (row, column) of a cost matrix (n, m), none dearer than `limit`, sorted by row.

    As many pairs as the limit allows, and among those choices the cheapest.
    """
    rows, columns = cost.shape
    if not rows or not columns:
        return []
    allowed = cost <= limit
    # a pair that is not allowed costs more than all that are can save together
    barrier = 1.0 + 2.0 * min(rows, columns) * (float(np.abs(cost[allowed]).max()) if allowed.any() else 1.0)
    padded = np.where(allowed, cost, barrier)
    chosen = _cheapest(padded) if rows <= columns else [(r, c) for c, r in _cheapest(padded.T)]
    return sorted((row, column) for row, column in chosen if allowed[row, column])


def _cheapest(cost: Floats) -> Pairs:
    """A column for each row of a matrix (n, m), n <= m, with the least sum.

    The Hungarian method by shortest augmenting paths (Jonker and Volgenant, Computing 38, 1987): rows join one by one,
    and each may move those before it along the cheapest path to a free column.
    """
    rows, columns = cost.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    owner = np.full(columns, -1)
    for start in range(rows):
        distance = np.full(columns, np.inf)
        before = np.full(columns, -1)
        done = np.zeros(columns, np.bool_)
        row, column, reached = start, -1, 0.0
        while row >= 0:
            if column >= 0:
                done[column] = True
            through = reached + cost[row] - row_price[row] - column_price
            shorter = ~done & (through < distance)
            distance[shorter], before[shorter] = through[shorter], column
            column = int(np.where(done, np.inf, distance).argmin())
            reached = float(distance[column])
            row = int(owner[column])
        row_price[start] += reached
        row_price[owner[done]] += reached - distance[done]
        column_price[done] -= reached - distance[done]
        while column >= 0:
            earlier = int(before[column])
            owner[column] = owner[earlier] if earlier >= 0 else start
            column = earlier
    return [(int(row), column) for column, row in enumerate(owner) if row >= 0]
