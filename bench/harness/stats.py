"""Medians, exact intervals and ratios.

The interval of a median here is made of order statistics: of n sorted values the k-th and the (n+1-k)-th enclose the
true median with a probability that needs no assumption about the distribution, only that rounds are independent:
1 - 2 * P(fewer than k of n fall below it), each with probability one half. Of nine values the 2nd and the 8th
do so in 96 % of all cases.
"""

import math

WANTED = 0.95


def median(values):
    v = sorted(values)
    n = len(v)
    if n == 0:
        return None
    return v[n // 2] if n % 2 else (v[n // 2 - 1] + v[n // 2]) / 2.0


def coverage(n, k):
    """The probability that the k-th and the (n+1-k)-th of n values enclose the median."""
    below = sum(math.comb(n, i) for i in range(k))
    return 1.0 - 2.0 * below / 2 ** n


def rank(n):
    """The largest k whose interval still covers the median with 95 %; 1 when there are too few values for that."""
    best = 1
    for k in range(1, (n + 1) // 2 + 1):
        if coverage(n, k) >= WANTED:
            best = k
    return best


def interval(values):
    """(low, high, k, coverage) of the median, None without values."""
    v = sorted(values)
    if not v:
        return None
    k = rank(len(v))
    return v[k - 1], v[len(v) - k], k, coverage(len(v), k)


def ratios(ours, theirs):
    """Round by round. A round in which either is missing, or the divisor is not above zero, has none (None)."""
    return [a / b if a is not None and b is not None and b > 0 else None for a, b in zip(ours, theirs)]


def verdict(values, better):
    """What ratios (ours ÷ theirs) say: "faster" or "slower" only when the interval excludes 1 and covers enough.

    better: "higher" when more is better (MB/s), "lower" when less is (CPU, latency).
    """
    found = interval([v for v in values if v is not None])
    if not found or found[3] < WANTED:
        return "too few rounds"
    low, high = found[0], found[1]
    if low <= 1.0 <= high:
        return "no difference shown"
    return "faster" if (low > 1.0) == (better == "higher") else "slower"


def merge_buckets(many):
    """Adds up histograms given as [[index, count], ...]."""
    total = {}
    for buckets in many:
        for index, count in buckets:
            total[index] = total.get(index, 0) + count
    return [[i, total[i]] for i in sorted(total)]
