package hrtest;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/**
 * A load whose whole history is checked, for running while things break.
 *
 * Idempotent writers number their records per partition; a reader follows from the beginning. At the end: every
 * acknowledged record is in the log at the offset that was acknowledged (else lost), each writer's numbers rise in
 * every partition (else duplicated or reordered), and each record says where it belongs (else crossed).
 * Unacknowledged records may or may not be there. The load runs until the command `stop` with its name.
 */
final class Load {
    private static final Map<String, Load> RUNNING = new ConcurrentHashMap<>();

    private volatile boolean stop;
    private final AtomicLong acked = new AtomicLong();
    private final AtomicLong read = new AtomicLong();

    static void register(Map<String, Main.Command> c) {
        c.put("load", Load::start);
        c.put("load_stop", a -> {
            Load l = RUNNING.get(a.text("name"));
            Core.check(l != null, "no such load");
            l.stop = true;
            return Core.result();
        });
        c.put("load_progress", a -> {
            Load l = RUNNING.get(a.text("name"));
            return Core.result("acked", l == null ? -1 : l.acked.get(), "read", l == null ? -1 : l.read.get());
        });
    }

    private static final class Ack {
        final int writer;
        final long seq;

        Ack(int writer, long seq) {
            this.writer = writer;
            this.seq = seq;
        }
    }

    private static Map<String, Object> start(Main.Args a) throws Exception {
        Load l = new Load();
        RUNNING.put(a.text("name"), l);
        try {
            return l.run(a);
        } finally {
            RUNNING.remove(a.text("name"));
        }
    }

    private Map<String, Object> run(Main.Args a) throws Exception {
        String topic = a.text("topic");
        int parts = a.number("partitions", 3);
        int writers = a.number("writers", 2);
        int size = a.number("size", 400);
        int pauseUs = a.number("pause_us", 500);
        List<Map<Long, Ack>> acks = new ArrayList<>();
        for (int p = 0; p < parts; p++) {
            acks.add(new ConcurrentHashMap<>());
        }
        AtomicLong failed = new AtomicLong();
        AtomicLong lastAck = new AtomicLong(System.nanoTime());
        AtomicLong maxGap = new AtomicLong();
        Map<String, Long> errors = new ConcurrentHashMap<>();
        List<Thread> threads = new ArrayList<>();
        for (int w = 0; w < writers; w++) {
            final int me = w;
            Thread t = new Thread(() -> {
                long[] seq = new long[parts];
                try (KafkaProducer<byte[], byte[]> p = Core.producer(a, "client.id", "load-" + me, "linger.ms", "2",
                        "request.timeout.ms", "10000")) {
                    for (long i = 0; !stop; i++) {
                        int part = (int) ((me + i) % parts);
                        long s = seq[part]++;
                        p.send(new ProducerRecord<>(topic, part, null, value(topic, me, part, s, size)), (meta, e) -> {
                            if (e != null) {
                                failed.incrementAndGet();
                                errors.merge(e.getClass().getSimpleName(), 1L, Long::sum);
                                return;
                            }
                            long now = System.nanoTime();
                            long gap = now - lastAck.getAndSet(now);
                            maxGap.accumulateAndGet(gap, Math::max);
                            if (acks.get(part).put(meta.offset(), new Ack(me, s)) != null) {
                                errors.merge("offset acknowledged twice", 1L, Long::sum);
                            }
                            acked.incrementAndGet();
                        });
                        if (pauseUs > 0) {
                            Thread.sleep(pauseUs / 1000, (pauseUs % 1000) * 1000);
                        }
                    }
                    p.flush();
                } catch (Throwable e) {
                    errors.merge("writer died: " + e, 1L, Long::sum);
                }
            }, "writer-" + w);
            t.start();
            threads.add(t);
        }

        long[] bad = new long[5]; // lost, duplicated, reordered, crossed, corrupt
        List<Map<Integer, Long>> last = new ArrayList<>();
        long[] nextOffset = new long[parts];
        long readGap = 0;
        for (int p = 0; p < parts; p++) {
            last.add(new HashMap<>());
        }
        List<Map<Long, Ack>> found = new ArrayList<>();
        for (int p = 0; p < parts; p++) {
            found.add(new HashMap<>());
        }
        try (KafkaConsumer<byte[], byte[]> c = Core.consumer(a, "client.id", "load-reader", "request.timeout.ms", "10000",
                "default.api.timeout.ms", "120000")) {
            c.assign(Core.partitions(topic, parts));
            c.seekToBeginning(c.assignment());
            boolean ended = false;
            Map<TopicPartition, Long> end = null;
            long deadline = Long.MAX_VALUE;
            long newest = System.nanoTime();
            while (!ended) {
                long before = read.get();
                for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(200))) {
                    check(r, topic, size, last.get(r.partition()), nextOffset, found.get(r.partition()), bad);
                    read.incrementAndGet();
                }
                if (read.get() > before) {
                    long now = System.nanoTime();
                    readGap = Math.max(readGap, before > 0 ? now - newest : 0);
                    newest = now;
                }
                if (end == null && stop && threads.stream().noneMatch(Thread::isAlive)) {
                    end = c.endOffsets(c.assignment(), Duration.ofSeconds(60));
                    deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
                }
                if (end != null) {
                    ended = true;
                    for (Map.Entry<TopicPartition, Long> e : end.entrySet()) {
                        ended &= c.position(e.getKey(), Duration.ofSeconds(60)) >= e.getValue();
                    }
                    Core.check(System.nanoTime() < deadline, "the reader did not reach the end of the log");
                }
            }
        }
        for (int p = 0; p < parts; p++) {
            for (Map.Entry<Long, Ack> e : acks.get(p).entrySet()) {
                Ack got = found.get(p).get(e.getKey());
                if (got == null || got.writer != e.getValue().writer || got.seq != e.getValue().seq) {
                    bad[0]++;
                }
            }
        }
        return Core.result("acked", acked.get(), "failed", failed.get(), "read", read.get(), "lost", bad[0], "duplicated",
            bad[1], "reordered", bad[2], "crossed", bad[3], "corrupt", bad[4], "max_gap_ms", maxGap.get() / 1000000,
            "read_gap_ms", readGap / 1000000, "errors", errors);
    }

    private static byte[] value(String topic, int writer, int part, long seq, int size) {
        byte[] head = (topic + "|" + writer + "|" + part + "|" + seq + "|").getBytes(StandardCharsets.UTF_8);
        byte[] v = new byte[Math.max(size, head.length)];
        System.arraycopy(head, 0, v, 0, head.length);
        System.arraycopy(Payload.make(writer * 1000003L + seq, v.length - head.length), 0, v, head.length, v.length - head.length);
        return v;
    }

    private static void check(ConsumerRecord<byte[], byte[]> r, String topic, int size, Map<Integer, Long> last,
            long[] nextOffset, Map<Long, Ack> found, long[] bad) {
        if (r.offset() < nextOffset[r.partition()]) {
            bad[1]++; // delivered again
            return;
        }
        nextOffset[r.partition()] = r.offset() + 1;
        String[] f = new String(r.value(), StandardCharsets.ISO_8859_1).split("\\|", 5);
        int writer;
        long seq;
        try {
            if (!f[0].equals(topic) || Integer.parseInt(f[2]) != r.partition()) {
                bad[3]++;
                return;
            }
            writer = Integer.parseInt(f[1]);
            seq = Long.parseLong(f[3]);
        } catch (RuntimeException e) {
            bad[4]++;
            return;
        }
        if (!java.util.Arrays.equals(r.value(), value(topic, writer, r.partition(), seq, size))) {
            bad[4]++;
        }
        Long before = last.put(writer, seq);
        if (before != null && seq == before) {
            bad[1]++;
        } else if (before != null && seq < before) {
            bad[2]++;
        }
        found.put(r.offset(), new Ack(writer, seq));
    }

    private Load() {
    }

}
