"""SVG plots by gnuplot, from the result file alone."""

import shutil
import subprocess

from harness import results as res

COLOURS = {"direct": "#8c8c8c", "direct-large": "#bdbdbd", "haproxy": "#3b75af", "nginx": "#519e3e", "envoy": "#9467bd",
           "kroxylicious": "#e1a52c", "headrace": "#c53a32", "floor": "#555555", "testpmd": "#222222"}
ORDER = list(COLOURS)


def bucket_value(index):
    """The lowest value of a bucket of HdrHistogram's layout with three digits: 2,048 of width 1, then 1,024 of each
    further power of two."""
    if index < 2048:
        return index
    shift = index // 1024 - 1
    return (index - 1024 * shift) << shift


def curve(buckets, steps=200):
    """[(1 / (1 - quantile), value)]: the shape of a latency distribution with its tail spread out."""
    total = sum(c for _, c in buckets)
    points, seen, last = [], 0, 0
    for index, count in sorted(buckets):
        seen += count
        x = total / (total - seen) if seen < total else float(total)
        if not points or seen == total or x / last > 10 ** (5.0 / steps):
            points.append((x, bucket_value(index)))
            last = x
    return points


def _gnuplot(path, width, height, lines):
    script = "set terminal svg size %d,%d font 'sans-serif,13' background '#ffffff'\nset output '%s'\n" % (width, height, path)
    script += "set border 3 lc '#666666'\nset grid ytics lc '#dddddd'\nset tics nomirror\n" + "\n".join(lines) + "\n"
    res_ = subprocess.run(["gnuplot"], input=script, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if res_.returncode != 0:
        raise RuntimeError("gnuplot: " + res_.stdout[-500:])
    return path


def bars(path, title, unit, metrics):
    """A bar for each metric (one system each), the interval as a whisker."""
    metrics = sorted((m for m in metrics if m["median"] is not None), key=lambda m: ORDER.index(m["labels"]["system"]))
    if not metrics:
        return None
    data = "$d << EOD\n" + "".join('%d %g %g %g "%s" %d\n' % (
        i, m["median"], m["interval"][0], m["interval"][1], m["labels"]["system"],
        int(COLOURS[m["labels"]["system"]][1:], 16)) for i, m in enumerate(metrics)) + "EOD"
    return _gnuplot(path, 640, 380, [
        data, "set title '%s'" % title, "set ylabel '%s'" % unit, "set style fill solid 0.85 noborder", "set boxwidth 0.6",
        "set yrange [%g:%g]" % (min(0, 1.1 * min(m["interval"][0] for m in metrics)),
                                1.1 * max(max(m["interval"][1] for m in metrics), 1e-9)),
        "set xrange [-0.6:%g]" % (len(metrics) - 0.4), "set xzeroaxis lc '#666666'", "unset key",
        "plot $d using 1:2:6:xtic(5) with boxes lc rgb variable, $d using 1:2:3:4 with yerrorbars lc '#222222' pt 0 lw 1.5"])


def latencies(path, title, histograms):
    """The latency distribution of each system up to its tail."""
    histograms = sorted((h for h in histograms if h["buckets"]), key=lambda h: ORDER.index(h["system"]))
    if not histograms:
        return None
    lines, plots = [], []
    for h in histograms:
        name = h["system"].replace("-", "_")
        lines.append("$%s << EOD\n%sEOD" % (name, "".join("%g %g\n" % (x, v / 1e3) for x, v in curve(h["buckets"]))))
        plots.append("$%s using 1:2 with lines lw 2 lc rgb '%s' title '%s'" % (name, COLOURS[h["system"]], h["system"]))
    return _gnuplot(path, 760, 420, lines + [
        "set title '%s'" % title, "set ylabel 'us from the intended time'", "set xlabel 'percentile'", "set logscale xy",
        "set key outside right top", "set xrange [1:*]",
        "set xtics ('0' 1, '50' 2, '90' 10, '99' 100, '99.9' 1000, '99.99' 10000)", "plot " + ", ".join(plots)])


def moods(path, data):
    """The core-to-core round trip over the run."""
    values = [v for v in data["round_trips_ns"] if v]
    if not values:
        return None
    return _gnuplot(path, 640, 260, [
        "$d << EOD\n%sEOD" % "".join("%d %g\n" % p for p in enumerate(values)), "set title 'core to core and back, at each round'",
        "set ylabel 'ns'", "set yrange [0:*]", "unset key", "plot $d using 1:2 with points pt 7 ps 0.5 lc '#c53a32'"])


def write(data, base):
    """All plots of a result: [(title, path)]; empty without gnuplot."""
    if not shutil.which("gnuplot"):
        return []
    made = []

    def keep(title, path):
        if path:
            made.append((title, path))

    settings = sorted({m["labels"]["setting"] for m in res.find(data, part="e2e")}, reverse=True)
    for s in settings:
        for kind in ("produce", "fetch", "small"):
            unit = "CPU s/GB" if kind != "small" else "CPU s/million requests"
            what = "mb_per_s" if kind != "small" else "requests_per_s"
            title = "%s, %s" % (s, kind)
            keep(title + ": what it carries", bars(
                "%s-%s-%s-max.svg" % (base, s, kind), title + ": what it carries", "MB/s" if kind != "small" else "requests/s",
                res.find(data, part="e2e", setting=s, kind=kind, level="max", quantity=what)))
            keep(title + ": CPU beyond direct", bars(
                "%s-%s-%s-cpu.svg" % (base, s, kind), title + " at 80%: busy time beyond direct", unit,
                res.find(data, part="e2e", setting=s, kind=kind, level="80%", quantity="extra_cpu")))
            keep(title + ": latency", latencies(
                "%s-%s-%s-latency.svg" % (base, s, kind), title + " at 80% of the slowest",
                [h for h in data["histograms"] if h["setting"] == s and h["kind"] == kind and h["level"] == "80%"]))
    keep("the machine", moods(base + "-machine.svg", data))
    return made
