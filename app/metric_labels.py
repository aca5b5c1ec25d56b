"""Metrics whose label values are declared, so that every child exists from the start.

Prometheus' `increase()` misses the first increase of a child that appears with it, and a label value from
outside would create a new time series for each value. Neither can happen here: all children are made with the
metric, and an undeclared value is counted as `other`.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, Self

import prometheus_client
from prometheus_client.metrics import MetricWrapperBase

OTHER = "other"


class _Declared(MetricWrapperBase):
    """A metric and its children. `values` has the declared values by label; `other` is always among the
    children.
    """

    values: dict[str, tuple[str, ...]]
    _by_key: dict[tuple[str, ...], Any]

    def declare(self, **values: Iterable[str]) -> Self:
        """Add label values and their children to the existing ones."""
        if not hasattr(self, "values"):
            self.values, self._by_key = dict.fromkeys(self._labelnames, ()), {}
        for name, more in values.items():
            self.values[name] = tuple(dict.fromkeys((*self.values[name], *more)))
        for key in product(*((*known, OTHER) for known in self.values.values())):
            if key not in self._by_key:
                self._by_key[key] = super().labels(*key)
        return self

    def labels(self, *_: Any, **values: Any) -> Self:
        """Return the child with these label values; an undeclared one counts as `other`."""
        key = tuple(values[name] if values[name] in known else OTHER for name, known in self.values.items())
        child: Self = self._by_key[key]
        return child


class Counter(_Declared, prometheus_client.Counter):
    """A counter with labels."""


class Gauge(_Declared, prometheus_client.Gauge):
    """A gauge with labels."""


class Histogram(_Declared, prometheus_client.Histogram):
    """A histogram with labels."""


def counter(name: str, meaning: str, **values: Iterable[str]) -> Counter:
    """Make a counter with declared label values."""
    return Counter(name, meaning, list(values)).declare(**values)


def gauge(name: str, meaning: str, **values: Iterable[str]) -> Gauge:
    """Make a gauge with declared label values."""
    return Gauge(name, meaning, list(values)).declare(**values)


def histogram(
    name: str,
    meaning: str,
    buckets: Sequence[float] = prometheus_client.Histogram.DEFAULT_BUCKETS,
    **values: Iterable[str],
) -> Histogram:
    """Make a histogram with declared label values."""
    return Histogram(name, meaning, list(values), buckets=tuple(buckets)).declare(**values)
