package hrtest;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** What every Kafka client from 2.8 on can do. Each command checks what it sees and fails with the difference. */
final class Core {
    static final int REPLICAS = 3;

    private Core() {
    }

    static void register(Map<String, Main.Command> c) {
        c.put("version", a -> {
            Properties p = new Properties();
            p.load(KafkaProducer.class.getResourceAsStream("/kafka/kafka-version.properties"));
            return result("version", p.getProperty("version"));
        });
        c.put("create_topic", Core::createTopic);
        c.put("produce_consume", Core::produceConsume);
        c.put("sizes", Core::sizes);
        c.put("acks0", Core::acks0);
        c.put("transactions", Core::transactions);
        c.put("group", Core::group);
        c.put("admin", Core::admin);
        c.put("many_clients", Core::manyClients);
        c.put("digest", Core::digest);
        c.put("unkeyed", Core::unkeyed);
        c.put("reauth", Core::reauth);
        c.put("delete_topic", a -> {
            try (Admin admin = adminClient(a)) {
                admin.deleteTopics(Collections.singleton(a.text("topic"))).all().get(30, TimeUnit.SECONDS);
            }
            return result();
        });
    }

    static Properties base(Main.Args a) {
        Properties p = new Properties();
        p.put("bootstrap.servers", a.text("bootstrap"));
        p.put("client.id", a.text("client_id", "hrtest"));
        a.settings(p);
        return p;
    }

    static KafkaProducer<byte[], byte[]> producer(Main.Args a, String... settings) {
        Properties p = base(a);
        p.put("acks", "all");
        p.put("enable.idempotence", "true");
        p.put("delivery.timeout.ms", "120000");
        p.put("max.block.ms", "60000");
        set(p, settings);
        return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Main.Args a, String... settings) {
        Properties p = base(a);
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        set(p, settings);
        return new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static Admin adminClient(Main.Args a) {
        Properties p = base(a);
        p.put("request.timeout.ms", "30000");
        return Admin.create(p);
    }

    private static void set(Properties p, String... settings) {
        for (int i = 0; i + 1 < settings.length; i += 2) {
            p.put(settings[i], settings[i + 1]);
        }
    }

    static void check(boolean ok, String what) {
        if (!ok) {
            throw new AssertionError(what);
        }
    }

    static Map<String, Object> result(Object... kv) {
        Map<String, Object> m = new LinkedHashMap<>();
        for (int i = 0; i + 1 < kv.length; i += 2) {
            m.put((String) kv[i], kv[i + 1]);
        }
        return m;
    }

    static List<TopicPartition> partitions(String topic, int n) {
        List<TopicPartition> parts = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            parts.add(new TopicPartition(topic, i));
        }
        return parts;
    }

    static Map<String, Object> createTopic(Main.Args a) throws Exception {
        try (Admin admin = adminClient(a)) {
            Map<String, String> configs = new HashMap<>();
            for (String kv : a.text("configs", "").split(",")) {
                if (kv.contains("=")) {
                    configs.put(kv.substring(0, kv.indexOf('=')), kv.substring(kv.indexOf('=') + 1));
                }
            }
            admin.createTopics(Collections.singleton(new NewTopic(a.text("topic"), a.number("partitions", 3),
                (short) a.number("replicas", REPLICAS)).configs(configs))).all().get(60, TimeUnit.SECONDS);
        }
        return result();
    }

    /** Writes keyed records with headers and reads every one back: byte-exact, in order, once. */
    static Map<String, Object> produceConsume(Main.Args a) throws Exception {
        String topic = a.text("topic");
        int parts = a.number("partitions", 3);
        int count = a.number("count", 1000);
        int size = a.number("size", 1000);
        long seed = topic.hashCode();
        try (KafkaProducer<byte[], byte[]> p = producer(a, "compression.type", a.text("compression", "none"),
                "linger.ms", "5", "max.request.size", String.valueOf(64 << 20))) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                sent.add(p.send(record(topic, i, parts, seed, size)));
            }
            for (int i = 0; i < count; i++) {
                check(sent.get(i).get(120, TimeUnit.SECONDS).partition() == i % parts, "record " + i + " went astray");
            }
        }
        long bytes = 0;
        int[] next = new int[parts];
        try (KafkaConsumer<byte[], byte[]> c = consumer(a)) {
            c.assign(partitions(topic, parts));
            c.seekToBeginning(c.assignment());
            int read = 0;
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(120);
            while (read < count) {
                check(System.nanoTime() < deadline, "only " + read + " of " + count + " records came back");
                for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(500))) {
                    int i = next[r.partition()]++ * parts + r.partition();
                    checkRecord(r, i, seed, size);
                    bytes += r.value() == null ? 0 : r.value().length;
                    read++;
                }
            }
            check(c.poll(Duration.ofMillis(100)).isEmpty(), "more records than were written");
        }
        return result("records", count, "bytes", bytes);
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, int i, int parts, long seed, int size) {
        byte[] key = i % 7 == 0 ? null : Payload.make(seed + i * 3L, 1 + i % 40);
        ProducerRecord<byte[], byte[]> r = new ProducerRecord<>(topic, i % parts, 1700000000000L + i, key,
            i % 11 == 10 ? null : Payload.make(seed + i, size));
        r.headers().add("index", Integer.toString(i).getBytes(StandardCharsets.UTF_8));
        r.headers().add("empty", new byte[0]);
        r.headers().add("null", null);
        if (i % 5 == 0) {
            r.headers().add("long", Payload.make(seed - i, 300));
        }
        return r;
    }

    private static void checkRecord(ConsumerRecord<byte[], byte[]> r, int i, long seed, int size) {
        String where = "record " + i + " (partition " + r.partition() + " offset " + r.offset() + "): ";
        check(i % 7 == 0 ? r.key() == null : Payload.matches(r.key(), seed + i * 3L, 1 + i % 40), where + "key differs");
        if (i % 11 == 10) {
            check(r.value() == null, where + "value should be null");
        } else {
            check(Payload.matches(r.value(), seed + i, size), where + "value differs");
        }
        check(r.timestamp() == 1700000000000L + i, where + "timestamp differs");
        Header[] h = r.headers().toArray();
        check(h.length == (i % 5 == 0 ? 4 : 3), where + "has " + h.length + " headers");
        check(h[0].key().equals("index") && new String(h[0].value(), StandardCharsets.UTF_8).equals("" + i), where
            + "header differs");
        check(h[1].value().length == 0 && h[2].value() == null, where + "empty or null header differs");
        check(h.length == 3 || Payload.matches(h[3].value(), seed - i, 300), where + "long header differs");
    }

    /** One record of each size, each its own batch. */
    static Map<String, Object> sizes(Main.Args a) throws Exception {
        String topic = a.text("topic");
        List<Integer> sizes = new ArrayList<>();
        for (String s : a.text("sizes").split(",")) {
            sizes.add(Integer.parseInt(s));
        }
        try (KafkaProducer<byte[], byte[]> p = producer(a, "max.request.size", String.valueOf(64 << 20),
                "buffer.memory", String.valueOf(128 << 20), "batch.size", "0", "request.timeout.ms", "120000",
                "delivery.timeout.ms", "240000")) {
            for (int i = 0; i < sizes.size(); i++) {
                p.send(new ProducerRecord<>(topic, 0, null, Payload.make(i, sizes.get(i)))).get(240, TimeUnit.SECONDS);
            }
        }
        long bytes = 0;
        try (KafkaConsumer<byte[], byte[]> c = consumer(a, "fetch.max.bytes", String.valueOf(64 << 20),
                "max.partition.fetch.bytes", String.valueOf(64 << 20), "request.timeout.ms", "120000",
                "max.poll.records", "1")) {
            c.assign(partitions(topic, 1));
            c.seekToBeginning(c.assignment());
            int read = 0;
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(240);
            while (read < sizes.size()) {
                check(System.nanoTime() < deadline, "only " + read + " of " + sizes.size() + " records came back");
                for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(500))) {
                    check(Payload.matches(r.value(), read, sizes.get(read)), "record of " + sizes.get(read) + " bytes differs");
                    bytes += sizes.get(read++);
                }
            }
        }
        return result("records", sizes.size(), "bytes", bytes);
    }

    /** acks=0 has no responses; records in between with acks=1 on the same topic must still be answered. */
    static Map<String, Object> acks0(Main.Args a) throws Exception {
        String topic = a.text("topic");
        int count = a.number("count", 2000);
        try (KafkaProducer<byte[], byte[]> p = producer(a, "acks", "0", "enable.idempotence", "false", "linger.ms", "1")) {
            for (int i = 0; i < count; i++) {
                p.send(new ProducerRecord<>(topic, 0, null, Payload.make(i, 200)));
            }
            p.flush();
        }
        try (KafkaConsumer<byte[], byte[]> c = consumer(a)) {
            c.assign(partitions(topic, 1));
            c.seekToBeginning(c.assignment());
            int read = 0;
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            while (read < count) {
                check(System.nanoTime() < deadline, "only " + read + " of " + count + " records came back");
                for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(500))) {
                    check(Payload.matches(r.value(), read, 200), "record " + read + " differs");
                    read++;
                }
            }
        }
        return result("records", count);
    }

    /** Records for so many seconds, and how often the client has logged in again meanwhile (KIP-368). */
    static Map<String, Object> reauth(Main.Args a) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(a.number("seconds", 20));
        int records = 0;
        double[] logins = new double[2];
        try (KafkaProducer<byte[], byte[]> p = producer(a, "retries", "0", "enable.idempotence", "false")) {
            for (; System.nanoTime() < end; Thread.sleep(50)) {
                p.send(new ProducerRecord<>(a.text("topic"), records % 3, null, Payload.make(records, 100))).get(60, TimeUnit.SECONDS);
                records++;
            }
            p.metrics().forEach((name, metric) -> {
                if (name.name().equals("successful-reauthentication-total")) {
                    logins[0] += (Double) metric.metricValue();
                } else if (name.name().equals("failed-reauthentication-total")) {
                    logins[1] += (Double) metric.metricValue();
                }
            });
        }
        return result("records", records, "reauthenticated", (int) logins[0], "refused", (int) logins[1]);
    }

    /** Committed, aborted, consume-transform-produce with offsets, and fencing. */
    static Map<String, Object> transactions(Main.Args a) throws Exception {
        String in = a.text("topic");
        String out = a.text("topic2");
        String id = "tx-" + UUID.randomUUID();
        String group = "txg-" + UUID.randomUUID();
        int rounds = a.number("rounds", 10);
        int each = 20;
        TreeSet<String> wanted = new TreeSet<>();
        try (KafkaProducer<byte[], byte[]> p = producer(a, "transactional.id", id)) {
            p.initTransactions();
            for (int t = 0; t < rounds; t++) {
                boolean commit = t % 3 != 2;
                p.beginTransaction();
                for (int i = 0; i < each; i++) {
                    String v = t + "/" + i;
                    p.send(new ProducerRecord<>(in, i % 3, null, v.getBytes(StandardCharsets.UTF_8)));
                    if (commit) {
                        wanted.add(v);
                    }
                }
                if (commit) {
                    p.commitTransaction();
                } else {
                    p.flush();
                    p.abortTransaction();
                }
            }
            // consume - transform - produce: offsets travel in the transaction
            int moved = 0;
            try (KafkaConsumer<byte[], byte[]> c = consumer(a, "isolation.level", "read_committed", "group.id", group)) {
                c.subscribe(Collections.singleton(in));
                long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(90);
                while (moved < wanted.size()) {
                    check(System.nanoTime() < deadline, "only " + moved + " of " + wanted.size() + " committed records read");
                    p.beginTransaction();
                    Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                    for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(500))) {
                        p.send(new ProducerRecord<>(out, r.partition(), null, r.value()));
                        offsets.put(new TopicPartition(in, r.partition()), new OffsetAndMetadata(r.offset() + 1));
                        moved++;
                    }
                    if (!offsets.isEmpty()) {
                        p.sendOffsetsToTransaction(offsets, c.groupMetadata());
                    }
                    p.commitTransaction();
                }
            }
            check(readAll(a, out, 3, wanted.size()).equals(wanted), "the transformed records differ from the committed ones");
            try (KafkaConsumer<byte[], byte[]> c = consumer(a, "group.id", group)) {
                long committed = 0;
                for (OffsetAndMetadata o : c.committed(new HashSet<>(partitions(in, 3))).values()) {
                    committed += o == null ? 0 : o.offset();
                }
                check(committed > 0, "the transaction's offsets were not committed");
            }
            // a second producer with the same id fences the first
            try (KafkaProducer<byte[], byte[]> q = producer(a, "transactional.id", id)) {
                q.initTransactions();
                boolean fenced = false;
                try {
                    p.beginTransaction();
                    p.send(new ProducerRecord<>(in, 0, null, new byte[]{1})).get(30, TimeUnit.SECONDS);
                    p.commitTransaction();
                } catch (Exception expected) {
                    fenced = true;
                }
                check(fenced, "the old transactional producer was not fenced");
            }
        }
        return result("committed", wanted.size());
    }

    private static Set<String> readAll(Main.Args a, String topic, int parts, int want) {
        TreeSet<String> got = new TreeSet<>();
        int read = 0;
        try (KafkaConsumer<byte[], byte[]> c = consumer(a, "isolation.level", "read_committed")) {
            c.assign(partitions(topic, parts));
            c.seekToBeginning(c.assignment());
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            while (read < want && System.nanoTime() < deadline) {
                for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(500))) {
                    got.add(new String(r.value(), StandardCharsets.UTF_8));
                    read++;
                }
            }
        }
        check(read == got.size(), "duplicates among the read-committed records");
        return got;
    }

    /** Three members, one of which leaves in the middle; every record is read; offsets survive the group's restart. */
    static Map<String, Object> group(Main.Args a) throws Exception {
        String topic = a.text("topic");
        String group = a.text("group", "g-" + UUID.randomUUID());
        String protocol = a.text("protocol", "classic");
        int parts = a.number("partitions", 6);
        int count = a.number("count", 3000);
        int half = count / 2;
        Set<Integer> seen = ConcurrentHashMap.newKeySet();
        AtomicReference<Throwable> failure = new AtomicReference<>();
        Set<Integer> membersUsed = ConcurrentHashMap.newKeySet();
        try (KafkaProducer<byte[], byte[]> p = producer(a, "linger.ms", "2")) {
            CountDownLatch joined = new CountDownLatch(3);
            AtomicInteger stopAfter = new AtomicInteger(Integer.MAX_VALUE);
            List<Thread> members = new ArrayList<>();
            for (int m = 0; m < 3; m++) {
                final int me = m;
                Thread t = new Thread(() -> {
                    boolean first = true;
                    try (KafkaConsumer<byte[], byte[]> c = consumer(a, groupSettings(group, protocol, "member-" + me))) {
                        c.subscribe(Collections.singleton(topic));
                        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(120);
                        while (seen.size() < count && System.nanoTime() < deadline && failure.get() == null) {
                            int got = 0;
                            for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(200))) {
                                seen.add(Integer.parseInt(new String(r.value(), StandardCharsets.UTF_8)));
                                got++;
                            }
                            if (got > 0) {
                                membersUsed.add(me);
                                c.commitSync();
                            }
                            if (first && !c.assignment().isEmpty()) {
                                first = false;
                                joined.countDown();
                            }
                            if (me == 2 && seen.size() >= half) {
                                return; // leaves; the others take over its partitions
                            }
                        }
                    } catch (Throwable e) {
                        failure.compareAndSet(null, e);
                    }
                }, "member-" + m);
                t.start();
                members.add(t);
            }
            check(joined.await(60, TimeUnit.SECONDS), "not all three members got partitions: " + failure.get());
            for (int i = 0; i < count; i++) {
                if (i == half) {
                    p.flush();
                    members.get(2).join(60000);
                }
                p.send(new ProducerRecord<>(topic, i % parts, null, Integer.toString(i).getBytes(StandardCharsets.UTF_8)));
            }
            p.flush();
            for (Thread t : members) {
                t.join(130000);
            }
        }
        if (failure.get() != null) {
            throw new AssertionError("a member failed: " + failure.get(), failure.get());
        }
        check(seen.size() == count, "the group read " + seen.size() + " of " + count + " records");
        check(membersUsed.size() == 3, "only members " + membersUsed + " read records");
        try (KafkaConsumer<byte[], byte[]> c = consumer(a, groupSettings(group, protocol, "member-late"))) {
            long sum = 0;
            for (OffsetAndMetadata o : c.committed(new HashSet<>(partitions(topic, parts))).values()) {
                sum += o == null ? 0 : o.offset();
            }
            check(sum == count, "committed offsets add up to " + sum + ", not " + count);
        }
        return result("records", count, "group", group);
    }

    private static String[] groupSettings(String group, String protocol, String client) {
        List<String> s = new ArrayList<>(Arrays.asList("group.id", group, "client.id", client));
        if (protocol.equals("consumer")) {
            s.addAll(Arrays.asList("group.protocol", "consumer"));
        } else {
            s.addAll(Arrays.asList("session.timeout.ms", "10000"));
        }
        return s.toArray(new String[0]);
    }

    /** TopicDescriptions under the names that different client versions give the same call. */
    @SuppressWarnings("unchecked")
    private static Map<String, TopicDescription> describe(Admin admin, String topic) throws Exception {
        Object r = admin.describeTopics(Collections.singleton(topic));
        java.lang.reflect.Method m;
        try {
            m = r.getClass().getMethod("allTopicNames");
        } catch (NoSuchMethodException older) {
            m = r.getClass().getMethod("all");
        }
        return ((org.apache.kafka.common.KafkaFuture<Map<String, TopicDescription>>) m.invoke(r)).get(30, TimeUnit.SECONDS);
    }

    static void waitUntil(String what, java.util.concurrent.Callable<Boolean> probe) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (!probe.call()) {
            check(System.nanoTime() < deadline, what + ": not within 30 s");
            Thread.sleep(50);
        }
    }

    /** Creates, describes, alters and deletes; returns every endpoint that was shown. */
    static Map<String, Object> admin(Main.Args a) throws Exception {
        String topic = a.text("topic");
        Set<String> endpoints = new TreeSet<>();
        Map<String, String> listeners = new TreeMap<>();
        try (Admin admin = adminClient(a)) {
            admin.createTopics(Collections.singleton(new NewTopic(topic, 2, (short) REPLICAS)
                .configs(Collections.singletonMap("retention.ms", "3600000")))).all().get(30, TimeUnit.SECONDS);
            waitUntil("topic in listTopics", () -> admin.listTopics().names().get(30, TimeUnit.SECONDS).contains(topic));
            for (Node n : admin.describeCluster().nodes().get(30, TimeUnit.SECONDS)) {
                endpoints.add(n.id() + "=" + n.host() + ":" + n.port() + "/" + n.rack());
            }
            check(endpoints.size() == 3, "describeCluster shows " + endpoints);
            Node controller = admin.describeCluster().controller().get(30, TimeUnit.SECONDS);
            endpoints.add(controller.id() + "=" + controller.host() + ":" + controller.port() + "/" + controller.rack());
            TopicDescription d = describe(admin, topic).get(topic);
            check(d.partitions().size() == 2 && d.partitions().get(0).replicas().size() == REPLICAS, "description is " + d);
            d.partitions().forEach(p -> p.replicas().forEach(n ->
                endpoints.add(n.id() + "=" + n.host() + ":" + n.port() + "/" + n.rack())));

            ConfigResource res = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            admin.incrementalAlterConfigs(Collections.singletonMap(res, Collections.singleton(new AlterConfigOp(
                new ConfigEntry("retention.ms", "7200000"), AlterConfigOp.OpType.SET)))).all().get(30, TimeUnit.SECONDS);
            waitUntil("altered retention.ms", () -> admin.describeConfigs(Collections.singleton(res)).all()
                .get(30, TimeUnit.SECONDS).get(res).get("retention.ms").value().equals("7200000"));

            int node = Integer.parseInt(endpoints.iterator().next().split("=")[0]);
            ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, Integer.toString(node));
            Config shown = admin.describeConfigs(Collections.singleton(broker)).all().get(30, TimeUnit.SECONDS).get(broker);
            check(shown.entries().size() > 100, "a broker shows only " + shown.entries().size() + " settings");
            for (ConfigEntry e : shown.entries()) {
                if (e.name().contains("listeners") || e.name().startsWith("controller.quorum") || e.name().equals("node.id")) {
                    listeners.put(e.name(), String.valueOf(e.value()));
                }
            }
            check(listeners.get("node.id").equals("" + node), "the broker's own node.id differs: " + listeners);

            admin.createPartitions(Collections.singletonMap(topic, NewPartitions.increaseTo(4))).all().get(30, TimeUnit.SECONDS);
            waitUntil("four partitions", () -> describe(admin, topic).get(topic).partitions().size() == 4);

            try (KafkaProducer<byte[], byte[]> p = producer(a)) {
                for (int i = 0; i < 20; i++) {
                    p.send(new ProducerRecord<>(topic, 0, null, Payload.make(i, 50))).get(60, TimeUnit.SECONDS);
                }
            }
            TopicPartition tp = new TopicPartition(topic, 0);
            check(admin.listOffsets(Collections.singletonMap(tp, OffsetSpec.latest())).all().get(30, TimeUnit.SECONDS)
                .get(tp).offset() == 20, "listOffsets");
            admin.deleteRecords(Collections.singletonMap(tp, RecordsToDelete.beforeOffset(5))).all().get(30, TimeUnit.SECONDS);
            check(admin.listOffsets(Collections.singletonMap(tp, OffsetSpec.earliest())).all().get(30, TimeUnit.SECONDS)
                .get(tp).offset() == 5, "earliest offset after deleteRecords");

            String group = "adm-" + UUID.randomUUID();
            try (KafkaConsumer<byte[], byte[]> c = consumer(a, "group.id", group)) {
                c.subscribe(Collections.singleton(topic));
                int read = 0;
                long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
                while (read < 15) {
                    check(System.nanoTime() < deadline, "admin's consumer read " + read);
                    read += c.poll(Duration.ofMillis(200)).count();
                }
                c.commitSync();
                ConsumerGroupDescription g = admin.describeConsumerGroups(Collections.singleton(group)).all()
                    .get(30, TimeUnit.SECONDS).get(group);
                check(g.members().size() == 1, "the group has " + g.members().size() + " members");
                Node co = g.coordinator();
                endpoints.add(co.id() + "=" + co.host() + ":" + co.port() + "/" + co.rack());
            }
            check(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get(30, TimeUnit.SECONDS)
                .get(tp).offset() == 20, "listConsumerGroupOffsets");
            admin.deleteConsumerGroups(Collections.singleton(group)).all().get(30, TimeUnit.SECONDS);
            check(!admin.describeLogDirs(Collections.singleton(node)).allDescriptions().get(30, TimeUnit.SECONDS).isEmpty(),
                "describeLogDirs");
            admin.deleteTopics(Collections.singleton(topic)).all().get(30, TimeUnit.SECONDS);
            waitUntil("topic gone", () -> !admin.listTopics().names().get(30, TimeUnit.SECONDS).contains(topic));
        }
        return result("endpoints", endpoints, "listeners", listeners);
    }

    /** Many producers and consumers at once, half each, every one with its own connections. */
    static Map<String, Object> manyClients(Main.Args a) throws Exception {
        String topic = a.text("topic");
        int parts = a.number("partitions", 6);
        int clients = a.number("clients", 200);
        int each = a.number("count", 50);
        int writers = clients / 2;
        AtomicReference<Throwable> failure = new AtomicReference<>();
        AtomicInteger written = new AtomicInteger();
        AtomicInteger readers = new AtomicInteger();
        CountDownLatch ready = new CountDownLatch(clients);
        CountDownLatch go = new CountDownLatch(1);
        List<Thread> threads = new ArrayList<>();
        for (int n = 0; n < clients; n++) {
            final int me = n;
            Thread t = new Thread(() -> {
                try {
                    if (me < writers) {
                        try (KafkaProducer<byte[], byte[]> p = producer(a, "client.id", "w" + me, "buffer.memory", "1048576",
                                "batch.size", "4096")) {
                            p.partitionsFor(topic);
                            ready.countDown();
                            go.await();
                            for (int i = 0; i < each; i++) {
                                p.send(new ProducerRecord<>(topic, (me + i) % parts, null, (me + ":" + i).getBytes(
                                    StandardCharsets.UTF_8))).get(100, TimeUnit.SECONDS);
                                written.incrementAndGet();
                            }
                        }
                    } else {
                        int part = me % parts;
                        int want = 0;
                        for (int w = 0; w < writers; w++) {
                            for (int i = 0; i < each; i++) {
                                want += (w + i) % parts == part ? 1 : 0;
                            }
                        }
                        Set<String> got = new HashSet<>();
                        try (KafkaConsumer<byte[], byte[]> c = consumer(a, "client.id", "r" + me, "receive.buffer.bytes", "65536")) {
                            c.assign(Collections.singleton(new TopicPartition(topic, part)));
                            c.seekToBeginning(c.assignment());
                            c.poll(Duration.ofMillis(1));
                            ready.countDown();
                            go.await();
                            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(110);
                            while (got.size() < want) {
                                check(System.nanoTime() < deadline, "reader " + me + " has " + got.size() + " of " + want);
                                for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(500))) {
                                    check(got.add(new String(r.value(), StandardCharsets.UTF_8)), "a record came twice");
                                }
                            }
                        }
                        readers.incrementAndGet();
                    }
                } catch (Throwable e) {
                    failure.compareAndSet(null, e);
                    ready.countDown();
                }
            }, "client-" + n);
            t.setDaemon(true);
            t.start();
            threads.add(t);
        }
        check(ready.await(100, TimeUnit.SECONDS), "clients not connected: " + ready.getCount() + " missing");
        go.countDown();
        for (Thread t : threads) {
            t.join(120000);
        }
        if (failure.get() != null) {
            throw new AssertionError("a client failed: " + failure.get(), failure.get());
        }
        check(written.get() == writers * each && readers.get() == clients - writers, "written " + written + ", readers done "
            + readers);
        return result("written", written.get(), "readers", readers.get());
    }

    /** Writes records without a key, so that the client chooses their partitions; returns how many went to each. */
    static Map<String, Object> unkeyed(Main.Args a) throws Exception {
        String topic = a.text("topic");
        byte[] value = new byte[a.number("size", 1000)];
        long[] found = new long[a.number("partitions", 6)];
        try (KafkaProducer<byte[], byte[]> p = producer(a, "linger.ms", "5")) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < a.number("count", 1000); i++) {
                sent.add(p.send(new ProducerRecord<>(topic, value)));
            }
            for (Future<RecordMetadata> f : sent) {
                found[f.get(120, TimeUnit.SECONDS).partition()]++;
            }
        }
        List<Long> counts = new ArrayList<>();
        for (long n : found) {
            counts.add(n);
        }
        return result("partitions", counts);
    }

    /** Reads a topic to its end and returns how many records, how many bytes and a checksum per partition. */
    static Map<String, Object> digest(Main.Args a) throws Exception {
        String topic = a.text("topic");
        int parts = a.number("partitions", 6);
        long records = 0;
        long bytes = 0;
        long[] next = new long[parts];
        java.util.zip.CRC32C[] crc = new java.util.zip.CRC32C[parts];
        for (int p = 0; p < parts; p++) {
            crc[p] = new java.util.zip.CRC32C();
        }
        long start;
        try (KafkaConsumer<byte[], byte[]> c = consumer(a, "max.partition.fetch.bytes", "4194304", "max.poll.records", "5000",
                "receive.buffer.bytes", "1048576")) {
            c.assign(partitions(topic, parts));
            c.seekToBeginning(c.assignment());
            Map<TopicPartition, Long> end = c.endOffsets(c.assignment());
            long want = end.values().stream().mapToLong(Long::longValue).sum();
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(300);
            start = System.nanoTime();
            while (records < want) {
                check(System.nanoTime() < deadline, "only " + records + " of " + want + " records came");
                for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(500))) {
                    check(r.offset() == next[r.partition()]++, "partition " + r.partition() + ": offset " + r.offset()
                        + " instead of " + (next[r.partition()] - 1));
                    crc[r.partition()].update(r.value());
                    records++;
                    bytes += r.value().length;
                }
            }
        }
        double took = (System.nanoTime() - start) / 1e9;
        List<String> sums = new ArrayList<>();
        for (java.util.zip.CRC32C x : crc) {
            sums.add(Long.toHexString(x.getValue()));
        }
        return result("records", records, "bytes", bytes, "crc", sums, "mb_per_s", bytes / 1e6 / took);
    }
}
