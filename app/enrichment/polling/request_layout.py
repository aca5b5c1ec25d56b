"""Places the requests of one plan so that waiting calls cost least, by dynamic programming. Pure."""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise


def first_request(
    moments: Sequence[float],
    unfound: Sequence[float],
    free_at: Sequence[float],
    price: float,
    lateness: float,
) -> int | None:
    """Place up to `len(free_at)` requests at the lowest cost; return the index of the first one's moment.

    `unfound[i]` is how many calls will have become visible by `moments[i]` if no request is sent; it never
    falls. The k-th request is not sent before `free_at[k]`. Between requests at moments a and b the cost is
    the total waiting time H(b) - H(a) - U(a) (b - a), where H is the integral of U = `unfound`. For a fixed a
    that is a line over b, so the best a for every b lies on the lower envelope of lines, which takes time
    linear in the number of moments. Returns None when no request is worth its price.
    """
    waited = integrate(moments, unfound)
    end = moments[-1]
    after = [
        waited[-1] - done - calls * (end - at)
        for done, calls, at in zip(waited, unfound, moments, strict=True)
    ]
    # The cheapest plan whose latest request is at each moment, and where that plan's first request is.
    costs = [done + price + lateness * at for done, at in zip(waited, moments, strict=True)]
    firsts = list(range(len(moments)))
    least, best = waited[-1], None
    for request in range(1, len(free_at) + 1):
        for cost, remaining, first in zip(costs, after, firsts, strict=True):
            if cost + remaining < least:
                least, best = cost + remaining, first
        if request < len(free_at):
            costs, firsts = _with_one_more(
                costs, firsts, free_at[request], moments, unfound, waited, price, lateness
            )
    return best


def _with_one_more(
    costs: Sequence[float],
    firsts: Sequence[int],
    free_at: float,
    moments: Sequence[float],
    unfound: Sequence[float],
    waited: Sequence[float],
    price: float,
    lateness: float,
) -> tuple[list[float], list[int]]:
    """Extend the cheapest plans by a request that cannot be sent before `free_at`.

    The line of a plan whose latest request is at moment a has the slope -U(a) and the height cost(a) - H(a) +
    U(a) a. Slopes never rise and moments only rise, so one walk along the envelope finds the lowest line for
    each moment. The code is not split further because a plan spends nine tenths of its time in this loop.
    """
    longer_costs, longer_firsts = [math.inf] * len(moments), list(firsts)
    slopes: list[float] = []
    heights: list[float] = []
    indexes: list[int] = []
    head = 0
    for index, at in enumerate(moments):
        if at >= free_at and slopes:
            lowest = slopes[head] * at + heights[head]
            while (
                head + 1 < len(slopes) and (following := slopes[head + 1] * at + heights[head + 1]) <= lowest
            ):
                head, lowest = head + 1, following
            longer_costs[index] = lowest + waited[index] + price + lateness * (at - free_at)
            longer_firsts[index] = firsts[indexes[head]]
        cost = costs[index]
        if cost == math.inf:
            continue
        slope, height = -unfound[index], cost - waited[index] + unfound[index] * at
        if slopes and slopes[-1] == slope:
            if heights[-1] <= height:
                continue
            del slopes[-1], heights[-1], indexes[-1]
        # A line is never lowest if its neighbours cross below it.
        while len(slopes) > head + 1 and (height - heights[-2]) * (slopes[-2] - slopes[-1]) <= (
            heights[-1] - heights[-2]
        ) * (slopes[-2] - slope):
            del slopes[-1], heights[-1], indexes[-1]
        slopes.append(slope)
        heights.append(height)
        indexes.append(index)
        head = min(head, len(slopes) - 1)
    return longer_costs, longer_firsts


def integrate(moments: Sequence[float], values: Sequence[float]) -> list[float]:
    """Return the running integral of values at moments, by trapezoids; the first is 0."""
    spans = zip(pairwise(moments), pairwise(values), strict=True)
    return list(
        accumulate(((low + high) / 2.0 * (end - start) for (start, end), (low, high) in spans), initial=0.0)
    )
