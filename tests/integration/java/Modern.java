package hrtest;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.FeatureMetadata;
import org.apache.kafka.clients.admin.QuorumInfo;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** What only 4.x clients can do. */
final class Modern {
    private Modern() {
    }

    static void register(Map<String, Main.Command> c) {
        c.put("share_group", Modern::shareGroup);
        c.put("admin_modern", Modern::admin);
    }

    /** Two members of a share group; some records are released once and must come again; all end accepted. */
    static Map<String, Object> shareGroup(Main.Args a) throws Exception {
        String topic = a.text("topic");
        String group = "share-" + UUID.randomUUID();
        int parts = a.number("partitions", 3);
        int count = a.number("count", 600);
        try (Admin admin = Core.adminClient(a)) {
            ConfigResource res = new ConfigResource(ConfigResource.Type.GROUP, group);
            admin.incrementalAlterConfigs(Map.of(res, Set.of(new AlterConfigOp(new ConfigEntry("share.auto.offset.reset",
                "earliest"), AlterConfigOp.OpType.SET)))).all().get(30, TimeUnit.SECONDS);
        }
        try (KafkaProducer<byte[], byte[]> p = Core.producer(a)) {
            for (int i = 0; i < count; i++) {
                p.send(new ProducerRecord<>(topic, i % parts, null, Integer.toString(i).getBytes(StandardCharsets.UTF_8)));
            }
            p.flush();
        }
        Set<Integer> accepted = ConcurrentHashMap.newKeySet();
        Set<Integer> released = ConcurrentHashMap.newKeySet();
        AtomicInteger twice = new AtomicInteger();
        AtomicReference<Throwable> failure = new AtomicReference<>();
        List<Thread> members = new ArrayList<>();
        for (int m = 0; m < 2; m++) {
            final int me = m;
            Thread t = new Thread(() -> {
                Properties props = Core.base(a);
                props.put("group.id", group);
                props.put("client.id", "share-" + me);
                props.put("share.acknowledgement.mode", "explicit");
                try (KafkaShareConsumer<byte[], byte[]> c = new KafkaShareConsumer<>(props, new ByteArrayDeserializer(),
                        new ByteArrayDeserializer())) {
                    c.subscribe(Set.of(topic));
                    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(90);
                    while (accepted.size() < count && System.nanoTime() < deadline && failure.get() == null) {
                        for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(300))) {
                            int v = Integer.parseInt(new String(r.value(), StandardCharsets.UTF_8));
                            if (v % 50 == 7 && released.add(v)) {
                                c.acknowledge(r, AcknowledgeType.RELEASE);
                            } else {
                                if (!accepted.add(v)) {
                                    twice.incrementAndGet();
                                }
                                c.acknowledge(r, AcknowledgeType.ACCEPT);
                            }
                        }
                        c.commitSync().forEach((tp, e) -> e.ifPresent(x -> failure.compareAndSet(null, x)));
                    }
                } catch (Throwable e) {
                    failure.compareAndSet(null, e);
                }
            }, "share-" + m);
            t.start();
            members.add(t);
        }
        for (Thread t : members) {
            t.join(100000);
        }
        if (failure.get() != null) {
            throw new AssertionError("a share consumer failed: " + failure.get(), failure.get());
        }
        Core.check(accepted.size() == count, "accepted " + accepted.size() + " of " + count);
        Core.check(twice.get() == 0, twice + " records were delivered again after being accepted");
        Core.check(released.size() == (count - 7 + 49) / 50, "released " + released.size());
        try (Admin admin = Core.adminClient(a)) {
            Core.check(admin.describeShareGroups(Set.of(group)).all().get(30, TimeUnit.SECONDS).containsKey(group),
                "describeShareGroups");
            admin.deleteShareGroups(Set.of(group)).all().get(30, TimeUnit.SECONDS);
        }
        return Core.result("records", count, "released", released.size());
    }

    static Map<String, Object> admin(Main.Args a) throws Exception {
        Set<String> endpoints = new TreeSet<>();
        Map<String, Object> features = new TreeMap<>();
        String topic = a.text("topic");
        try (Admin admin = Core.adminClient(a)) {
            QuorumInfo q = admin.describeMetadataQuorum().quorumInfo().get(30, TimeUnit.SECONDS);
            Core.check(q.voters().size() == 3 && q.leaderId() > 0, "the quorum is " + q);
            q.nodes().values().forEach(n -> n.endpoints().forEach(e -> endpoints.add(n.nodeId() + "=" + e.host() + ":"
                + e.port() + "/" + e.listener())));
            FeatureMetadata f = admin.describeFeatures().featureMetadata().get(30, TimeUnit.SECONDS);
            f.finalizedFeatures().forEach((k, v) -> features.put(k, v.maxVersionLevel()));
            TopicPartition tp = new TopicPartition(topic, 0);
            Core.check(admin.describeProducers(Set.of(tp)).all().get(30, TimeUnit.SECONDS).containsKey(tp), "describeProducers");
            admin.listTransactions().all().get(30, TimeUnit.SECONDS);
            admin.listConfigResources().all().get(30, TimeUnit.SECONDS);
            admin.listGroups().all().get(30, TimeUnit.SECONDS);
            admin.describeClientQuotas(org.apache.kafka.common.quota.ClientQuotaFilter.all()).entities().get(30, TimeUnit.SECONDS);
            admin.describeUserScramCredentials().all().get(30, TimeUnit.SECONDS);
        }
        return Core.result("quorum_endpoints", endpoints, "features", features);
    }
}
