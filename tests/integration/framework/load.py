"""A load in the JVM whose whole history is checked: java/Load.java."""

from framework.core import check, eventually


class Load:
    """It runs for the time of a with block; its history is checked at the end."""

    def __init__(self, ctx, partitions=3, least=500, zone=1, **args):
        self.ctx, self.least, self.zone = ctx, least, zone
        self.topic = ctx.topic("load", partitions, min_insync_replicas=2)
        self.args = dict(dict(bootstrap=ctx.bootstrap, partitions=partitions, writers=2, pause_us=1000), **args)

    def __enter__(self):
        self.begun = self.ctx.java(zone=self.zone).begin("load", topic=self.topic, name=self.topic, **self.args)
        self.wait_for_more(200, 60)
        return self

    def progress(self):
        return self.ctx.java(zone=self.zone).call("load_progress", name=self.topic)["acked"]

    def wait_for_more(self, n, timeout=60):
        """Returns when n more records were acknowledged: the load flows (again)."""
        start = max(self.progress(), 0)
        eventually("%d more acknowledged records" % n, lambda: self.progress() >= start + n, timeout, 0.1)

    def __exit__(self, kind, value, trace):
        if kind:
            return False
        self.ctx.java(zone=self.zone).call("load_stop", name=self.topic)
        r = self.ctx.java(zone=self.zone).end(self.begun, 200)
        self.result = r
        check(r["acked"] >= self.least, "only %d records acknowledged" % r["acked"])
        check(r["lost"] == r["duplicated"] == r["reordered"] == r["crossed"] == r["corrupt"] == 0,
              "history of %d acknowledged records: %s" % (r["acked"], {k: r[k] for k in (
                  "lost", "duplicated", "reordered", "crossed", "corrupt", "failed", "errors")}))
        check(not any("died" in e for e in r["errors"]), "a writer died: %s" % r["errors"])
        self.ctx.note("%d records, longest gap %.1f s%s" % (r["acked"], r["max_gap_ms"] / 1e3,
                                                           ", %d failed" % r["failed"] if r["failed"] else ""))
        return False
