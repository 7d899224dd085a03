import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;

import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.types.RawTaggedField;

/**
 * What the relay does to responses, judged by Kafka's own classes. Every client-facing API and version is encoded
 * with random content in which every node has a "real-" host; the frame goes through hr-relay-edit; what comes out is
 * decoded again and must be the same message but for what Headrace owns: addresses, controller endpoints, listener
 * values and version ranges. No byte of a "real-" name may remain.
 *
 * Arguments: path of hr-relay-edit, a file of "KEY MIN MAX" lines (what Headrace lets through), number of seeds.
 */
public final class RelayEdits {
    /* The listener that hr-relay-edit is built with: nodes 0 to 9999 at b<N>.proxy.test, port 20000 + N. */
    private static final int NODE_MAX = 9999;
    private static final int PORT_BASE = 20000;
    private static final String REAL = "real-";

    private static final int PRODUCE = 0, FETCH = 1, METADATA = 3, FIND_COORDINATOR = 10, API_VERSIONS = 18,
        DESCRIBE_CONFIGS = 32, DESCRIBE_QUORUM = 55, DESCRIBE_CLUSTER = 60, SHARE_FETCH = 78, SHARE_ACKNOWLEDGE = 79;
    private static final int CONFIG_BROKER = 4, ENDPOINTS_OF_CONTROLLERS = 2;
    private static final short COORDINATOR_NOT_AVAILABLE = 15, UNSUPPORTED_VERSION = 35, NOT_LEADER = 6;
    /** The session talks to a virtual broker, so that the relay leaves the identity of ApiVersions 5 to it. */
    private static final int NODE = 1;
    private static final int MAX_FAILURES_SHOWN = 20;
    /** A gap of this many bytes can always be filled by an unknown tag; a smaller one only sometimes. */
    private static final int GAP_ALWAYS_FILLED = 8;

    private final BufferedWriter jobs;
    private final BufferedReader answers;
    private final Map<Integer, int[]> ranges = new HashMap<>();
    private final Map<String, Integer> outcomes = new TreeMap<>();
    private final Set<String> shown = new HashSet<>();
    private int frames;
    private int failures;

    private RelayEdits(Process tool) {
        jobs = new BufferedWriter(new OutputStreamWriter(tool.getOutputStream(), StandardCharsets.US_ASCII));
        answers = new BufferedReader(new InputStreamReader(tool.getInputStream(), StandardCharsets.US_ASCII),
            1 << 16);
    }

    private static final class Wrong extends RuntimeException {
        private static final long serialVersionUID = 1;

        Wrong(String why) {
            super(why);
        }
    }

    private void count(String outcome) {
        outcomes.merge(outcome, 1, Integer::sum);
    }

    // --- fields by name -------------------------------------------------------------------------------------

    private static Messages.Slot slot(Message message, short version, String name) {
        for (Messages.Slot slot : Messages.slots(message.getClass(), version)) {
            if (slot.name().equals(name))
                return slot;
        }
        return null;
    }

    private static boolean has(Message message, short version, String name) {
        return slot(message, version, name) != null;
    }

    private static Object get(Message message, short version, String name) {
        return slot(message, version, name).get(message);
    }

    private static int number(Message message, short version, String name) {
        return ((Number) get(message, version, name)).intValue();
    }

    private static void set(Message message, short version, String name, Object value) {
        Messages.call(slot(message, version, name).setter(), message, value);
    }

    @SuppressWarnings("unchecked")
    private static Collection<Message> structs(Message message, short version, String name) {
        Object value = has(message, version, name) ? get(message, version, name) : null;
        return value == null ? List.of() : (Collection<Message>) value;
    }

    private static String nodeField(Message message, short version) {
        return has(message, version, "nodeid") ? "nodeid" : has(message, version, "brokerid") ? "brokerid" : null;
    }

    private static boolean isEndpoint(Message message, short version) {
        return nodeField(message, version) != null && has(message, version, "host") && has(message, version, "port");
    }

    private static String virtualHost(int node) {
        return "b" + node + ".proxy.test";
    }

    private static boolean reachable(int node) {
        return node >= 0 && node <= NODE_MAX;
    }

    // --- content --------------------------------------------------------------------------------------------

    private static String realHost(Random random) {
        return REAL + "x".repeat(random.nextInt(3) == 0 ? random.nextInt(150) : random.nextInt(16));
    }

    /** Turns random structs with a node, a host and a port into brokers, most of them within the listener's range. */
    private static void aim(Message message, short version, Random random) {
        for (Messages.Slot slot : Messages.slots(message.getClass(), version)) {
            Object value = slot.get(message);
            if (value instanceof Message nested)
                aim(nested, version, random);
            if (value instanceof Collection<?> values) {
                for (Object element : values) {
                    if (element instanceof Message nested)
                        aim(nested, version, random);
                }
            }
        }
        if (has(message, version, "partitionindex") && has(message, version, "errorcode") && random.nextInt(4) == 0)
            set(message, version, "errorcode", NOT_LEADER);
        if (isEndpoint(message, version)) {
            int node = random.nextInt(12) == 0 ? NODE_MAX + 1 + random.nextInt(1 << 20)
                : random.nextInt(NODE_MAX + 1);
            set(message, version, nodeField(message, version), node);
            set(message, version, "host", realHost(random));
            set(message, version, "port", random.nextInt(65536));
        } else if (has(message, version, "host") && has(message, version, "name")) {
            set(message, version, "host", realHost(random)); // a controller's listener
        }
    }

    private static void aimConfigs(Message message, short version, Random random) {
        String[] names = {"listeners", "advertised.listeners", "controller.quorum.voters",
            "controller.quorum.bootstrap.servers", "listener.security.protocol.map", "log.dirs", "broker.rack"};
        for (Message result : structs(message, version, "results")) {
            boolean broker = random.nextInt(4) != 0;
            set(result, version, "resourcetype", (byte) (broker ? CONFIG_BROKER : 2));
            set(result, version, "resourcename", random.nextInt(6) == 0 ? ""
                : String.valueOf(random.nextInt(NODE_MAX + 1)));
            for (Message config : structs(result, version, "configs"))
                aimConfig(config, version, names[random.nextInt(names.length)], broker, random);
        }
    }

    private static void aimConfig(Message config, short version, String name, boolean broker, Random random) {
        String real = !broker ? "topic setting"
            : name.endsWith("listeners") ? "SASL_SSL://" + realHost(random) + ":9092"
            : name.endsWith("voters") ? "1@" + realHost(random) + ":9093"
            : name.endsWith("servers") ? realHost(random) + ":9093" : "value " + random.nextInt();
        set(config, version, "name", name);
        set(config, version, "value", random.nextInt(6) == 0 ? null : real);
        for (Message synonym : structs(config, version, "synonyms"))
            aimConfig(synonym, version, name, broker, random);
    }

    private void aimApiVersions(Message message, short version, Random random) {
        set(message, version, "errorcode", (short) 0);
        for (Message range : structs(message, version, "apikeys")) {
            int min = random.nextInt(4);
            set(range, version, "apikey", (short) random.nextInt(110));
            set(range, version, "minversion", (short) min);
            set(range, version, "maxversion", (short) (min + random.nextInt(16)));
        }
    }

    // --- what must come out ---------------------------------------------------------------------------------

    /** Gives an endpoint its virtual broker's address; false: it cannot be shown. */
    private static boolean virtualise(Message endpoint, short version) {
        int node = number(endpoint, version, nodeField(endpoint, version));
        if (!reachable(node))
            return false;
        set(endpoint, version, "host", virtualHost(node));
        set(endpoint, version, "port", PORT_BASE + node);
        return true;
    }

    private void expectBrokers(Message message, short version, String name) {
        for (Iterator<Message> at = structs(message, version, name).iterator(); at.hasNext();) {
            boolean shown = virtualise(at.next(), version);
            count(shown ? "address rewritten" : "broker left out");
            if (!shown)
                at.remove();
        }
    }

    private void expectCoordinator(Message coordinator, short version) {
        if (virtualise(coordinator, version)) {
            count("address rewritten");
            return;
        }
        count("coordinator hidden");
        set(coordinator, version, "nodeid", -1);
        set(coordinator, version, "host", "");
        set(coordinator, version, "port", -1);
        set(coordinator, version, "errorcode", COORDINATOR_NOT_AVAILABLE);
    }

    private void expectRanges(Message message, short version) {
        for (Iterator<Message> at = structs(message, version, "apikeys").iterator(); at.hasNext();) {
            Message range = at.next();
            int[] ours = ranges.get(number(range, version, "apikey"));
            int min = number(range, version, "minversion"), max = number(range, version, "maxversion");
            if (ours == null || Math.max(min, ours[0]) > Math.min(max, ours[1])) {
                count("API hidden");
                at.remove();
                continue;
            }
            count("API kept");
            set(range, version, "minversion", (short) Math.max(min, ours[0]));
            set(range, version, "maxversion", (short) Math.min(max, ours[1]));
        }
    }

    /** Judges a broker's values one by one, and then takes them over, so that the rest can be compared. */
    private void judgeConfigs(Message expected, Message got, short version) {
        Iterator<Message> gotResults = structs(got, version, "results").iterator();
        for (Message result : structs(expected, version, "results")) {
            if (!gotResults.hasNext())
                return;
            Message gotResult = gotResults.next();
            if (number(result, version, "resourcetype") != CONFIG_BROKER)
                continue;
            Iterator<Message> gotConfigs = structs(gotResult, version, "configs").iterator();
            for (Message config : structs(result, version, "configs")) {
                if (!gotConfigs.hasNext())
                    return;
                Message gotConfig = gotConfigs.next();
                judgeConfig(config, gotConfig, version, (String) get(result, version, "resourcename"));
                Iterator<Message> gotSynonyms = structs(gotConfig, version, "synonyms").iterator();
                for (Message synonym : structs(config, version, "synonyms")) {
                    if (!gotSynonyms.hasNext())
                        return;
                    judgeConfig(synonym, gotSynonyms.next(), version, (String) get(result, version, "resourcename"));
                }
            }
        }
    }

    private void judgeConfig(Message config, Message got, short version, String node) {
        String name = (String) get(config, version, "name");
        String value = (String) get(config, version, "value"), gotValue = (String) get(got, version, "value");
        if (value == null || !value.contains(REAL))
            return; // must be as it was
        String want = "";
        if (name.endsWith("listeners") && !node.isEmpty())
            want = "PLAINTEXT://" + virtualHost(Integer.parseInt(node)) + ":" + (PORT_BASE + Integer.parseInt(node));
        if (!want.equals(gotValue))
            throw new Wrong(name + " of node " + node + " is " + gotValue + ", should be " + want);
        count(want.isEmpty() ? "value blanked" : "listener rewritten");
        set(config, version, "value", gotValue);
    }

    /** Can the message stand in oldLength bytes for sure, filled up by unknown tags? */
    private static boolean fills(Message message, short version, int oldLength) {
        int gap = oldLength - Messages.encode(message, version).length;
        return gap == 0 || gap >= GAP_ALWAYS_FILLED;
    }

    private static boolean withoutRacks(Message message, short version) {
        for (Message endpoint : structs(message, version, "nodeendpoints")) {
            if (get(endpoint, version, "rack") != null)
                return false;
        }
        return true;
    }

    private static void leaveOutRacks(Message message, short version) {
        for (Message endpoint : structs(message, version, "nodeendpoints"))
            set(endpoint, version, "rack", null);
    }

    /**
     * Endpoints behind the records: the frame keeps its length. All of them are virtual; or they are so without
     * their racks, where these do not fit; or none is told, where the rest does not fit either. What became free is
     * unknown tags of zeros in the top-level tag section.
     */
    private void expectTail(Message expected, Message got, short version, Map<String, Integer> counters,
            int oldLength) {
        Collection<Message> endpoints = structs(expected, version, "nodeendpoints");
        if (endpoints.isEmpty())
            return;
        for (Iterator<Message> at = endpoints.iterator(); at.hasNext();) {
            if (!virtualise(at.next(), version))
                at.remove();
        }
        boolean told = !structs(got, version, "nodeendpoints").isEmpty();
        boolean fits = fills(expected, version, oldLength);
        if (endpoints.isEmpty()) {
            count("tail without a node that can be shown");
        } else if (told && withoutRacks(got, version) && !withoutRacks(expected, version)) {
            if (fits)
                throw new Wrong("racks left out though they fit");
            count("tail rewritten without racks");
            leaveOutRacks(expected, version);
        } else if (told) {
            count("tail rewritten");
        } else {
            leaveOutRacks(expected, version);
            if (fits || fills(expected, version, oldLength))
                throw new Wrong("endpoints hidden though they fit");
            count("tail hidden");
            endpoints.clear();
            if (counters.get("hidden") != 1)
                throw new Wrong("hidden, but not counted so");
        }
        List<RawTaggedField> old = expected.unknownTaggedFields();
        List<RawTaggedField> now = got.unknownTaggedFields();
        for (RawTaggedField tag : now) {
            if (old.contains(tag))
                continue;
            for (byte b : tag.data()) {
                if (b != 0)
                    throw new Wrong("the filler, tag " + tag.tag() + ", holds bytes");
            }
        }
        if (!now.containsAll(old) || now.size() > old.size() + 2)
            throw new Wrong("unknown tags were lost, or there are too many: " + now.size());
        old.clear();
        old.addAll(now);
    }

    private void judge(int key, short version, Message expected, Message got, Map<String, Integer> counters,
            int oldLength) {
        switch (key) {
            case METADATA -> expectBrokers(expected, version, "brokers");
            case DESCRIBE_CLUSTER -> {
                if (has(expected, version, "endpointtype")
                        && number(expected, version, "endpointtype") == ENDPOINTS_OF_CONTROLLERS) {
                    structs(expected, version, "brokers").clear();
                    count("controllers left out");
                }
                expectBrokers(expected, version, "brokers");
            }
            case FIND_COORDINATOR -> {
                if (isEndpoint(expected, version))
                    expectCoordinator(expected, version);
                for (Message coordinator : structs(expected, version, "coordinators"))
                    expectCoordinator(coordinator, version);
            }
            case DESCRIBE_QUORUM -> {
                if (!structs(expected, version, "nodes").isEmpty()) {
                    structs(expected, version, "nodes").clear();
                    count("quorum nodes emptied");
                }
            }
            case DESCRIBE_CONFIGS -> judgeConfigs(expected, got, version);
            case API_VERSIONS -> expectRanges(expected, version);
            case PRODUCE, FETCH, SHARE_FETCH, SHARE_ACKNOWLEDGE -> expectTail(expected, got, version, counters,
                oldLength);
            default -> { }
        }
        if (!expected.equals(got))
            throw new Wrong(firstDifference(got.toString(), expected.toString()));
    }

    private static String firstDifference(String got, String expected) {
        int at = 0;
        while (at < got.length() && at < expected.length() && got.charAt(at) == expected.charAt(at))
            at++;
        int from = Math.max(0, at - 80);
        return "is ..." + got.substring(from, Math.min(got.length(), at + 120)) + "...; should be ..."
            + expected.substring(from, Math.min(expected.length(), at + 120)) + "...";
    }

    // --- frames ---------------------------------------------------------------------------------------------

    private static byte[] frame(byte[] header, byte[] body) {
        return ByteBuffer.allocate(4 + header.length + body.length).putInt(header.length + body.length).put(header)
            .put(body).array();
    }

    private static byte[] header(int correlation, short headerVersion, Random random) {
        ResponseHeaderData header = new ResponseHeaderData().setCorrelationId(correlation);
        if (headerVersion > 0 && random.nextInt(6) == 0)
            header.unknownTaggedFields().add(new RawTaggedField(7, new byte[random.nextInt(200)]));
        return Messages.encode(header, headerVersion);
    }

    /** The edited frame, and the relay's own counters about it. */
    private record Edited(byte[] frame, Map<String, Integer> counters) { }

    private Edited edit(int key, short version, byte[] frame) throws IOException {
        jobs.write(key + " " + version + " " + NODE + " " + Messages.hex(frame) + "\n");
        jobs.flush();
        String answer = answers.readLine();
        if (answer == null)
            throw new IOException("hr-relay-edit went away");
        String[] words = answer.split(" ");
        if (!words[0].equals("ok"))
            throw new Wrong("hr-relay-edit says: " + (answer.length() > 200 ? answer.substring(0, 200) : answer));
        Map<String, Integer> counters = new HashMap<>();
        for (int i = 2; i < words.length; i++)
            counters.put(words[i].split("=")[0], Integer.parseInt(words[i].split("=")[1]));
        return new Edited(Messages.unhex(words[1]), counters);
    }

    /** Sends one response through the relay and judges the result; bodyVersion differs for KIP-511's answer. */
    private void pass(int key, short version, short bodyVersion, short headerVersion, Message message, int correlation,
            Random random) throws IOException {
        byte[] body = Messages.encode(message, bodyVersion), header = header(correlation, headerVersion, random);
        byte[] before = frame(header, body);
        Edited answer = edit(key, version, before);
        byte[] after = answer.frame();
        frames++;
        if (ByteBuffer.wrap(after).getInt() != after.length - 4)
            throw new Wrong("the size in front is wrong");
        if (!Arrays.equals(before, 4, 4 + header.length, after, 4, 4 + header.length))
            throw new Wrong("the header has changed");
        byte[] newBody = Arrays.copyOfRange(after, 4 + header.length, after.length);
        boolean edited = Set.of(PRODUCE, FETCH, METADATA, FIND_COORDINATOR, API_VERSIONS, DESCRIBE_CONFIGS,
            DESCRIBE_QUORUM, DESCRIBE_CLUSTER, SHARE_FETCH, SHARE_ACKNOWLEDGE).contains(key);
        if (!edited) {
            if (!Arrays.equals(before, after))
                throw new Wrong("changed, though nothing in it is ours");
            count("passed untouched");
            return;
        }
        if (new String(after, StandardCharsets.ISO_8859_1).contains(REAL))
            throw new Wrong("a real host remains");
        Message got = Messages.decode(message.getClass(), newBody, bodyVersion);
        Message expected = Messages.decode(message.getClass(), body, bodyVersion);
        boolean hint = Set.of(PRODUCE, FETCH, SHARE_FETCH, SHARE_ACKNOWLEDGE).contains(key)
            && anyPartitionMoved(expected, bodyVersion);
        judge(key, bodyVersion, expected, got, answer.counters(), body.length);
        if (answer.counters().get("hint") != (hint ? 1 : 0))
            throw new Wrong("the hint is " + answer.counters().get("hint"));
    }

    /** Has a struct within the message, a partition, the error NOT_LEADER_OR_FOLLOWER? */
    private static boolean anyPartitionMoved(Message message, short version) {
        for (Messages.Slot slot : Messages.slots(message.getClass(), version)) {
            if (!(slot.get(message) instanceof Collection<?> values))
                continue;
            for (Object value : values) {
                if (value instanceof Message nested && (anyPartitionMoved(nested, version)
                        || has(nested, version, "errorcode") && number(nested, version, "errorcode") == NOT_LEADER))
                    return true;
            }
        }
        return false;
    }

    private void attempt(String what, int seed, Attempt attempt) throws IOException {
        try {
            attempt.run();
        } catch (RuntimeException e) {
            failures++;
            if (shown.add(what) && shown.size() <= MAX_FAILURES_SHOWN) {
                String why = e instanceof Wrong ? e.getMessage() : e.toString();
                System.out.println("FAIL " + what + " seed " + seed + ": "
                    + why.replaceAll("\\p{Cntrl}", "?"));
            }
        }
    }

    private interface Attempt {
        void run() throws IOException;
    }

    private void response(ApiMessageType type, short version, int seed) throws IOException {
        int key = type.apiKey();
        Random random = new Random(seed * 1_000_003L + key * 4099L + version * 31L);
        Message message = type.newResponse();
        Messages.fill(message, version, random);
        if (key != 88 && key != 89) // hosts of applications, not of brokers
            aim(message, version, random);
        if (key == DESCRIBE_CONFIGS)
            aimConfigs(message, version, random);
        if (key == API_VERSIONS)
            aimApiVersions(message, version, random);
        pass(key, version, version, type.responseHeaderVersion(version), message, seed, random);
    }

    /** A broker that does not know the version of ApiVersions answers in version 0 (KIP-511). */
    private void unsupported(short version) throws IOException {
        Message message = ApiMessageType.API_VERSIONS.newResponse();
        set(message, (short) 0, "errorcode", UNSUPPORTED_VERSION);
        Message range = Messages.create(rangeClass(message));
        set(range, (short) 0, "apikey", (short) API_VERSIONS);
        set(range, (short) 0, "maxversion", (short) 90);
        structs(message, (short) 0, "apikeys").add(range);
        pass(API_VERSIONS, version, (short) 0, (short) 0, message, version + 1, new Random(version));
    }

    private static Class<?> rangeClass(Message message) {
        for (Class<?> nested : message.getClass().getDeclaredClasses()) {
            if (nested.getSimpleName().equals("ApiVersion"))
                return nested;
        }
        throw new IllegalStateException("no class ApiVersion");
    }

    private void run(int seeds) throws IOException {
        int versions = 0;
        for (ApiKeys api : ApiKeys.apisForListener(ApiMessageType.ListenerType.BROKER)) {
            ApiMessageType type = api.messageType;
            int[] ours = ranges.get((int) api.id);
            short latest = type.highestSupportedVersion(true);
            for (short version = type.lowestSupportedVersion(); version <= latest; version++) {
                if (ours == null || version < ours[0] || version > ours[1] || redefined(type, version))
                    continue;
                if (api == ApiKeys.SASL_HANDSHAKE && version == 0) // advertised, never let through
                    continue;
                versions++;
                short v = version;
                for (int seed = 1; seed <= seeds; seed++) {
                    int s = seed;
                    attempt(type.name + " version " + version, seed, () -> response(type, v, s));
                }
            }
        }
        for (short version = 1; version <= ranges.get(API_VERSIONS)[1]; version++) {
            short v = version;
            attempt("ApiVersions version " + version + " answered in version 0", 0, () -> unsupported(v));
        }
        List<String> texts = new ArrayList<>();
        outcomes.forEach((outcome, n) -> texts.add(outcome + " " + n));
        System.out.println("outcomes " + String.join(", ", texts));
        System.out.println("sum versions=" + versions + " frames=" + frames + " outcomes=" + outcomes.size()
            + " failures=" + failures);
    }

    /** See KafkaSchema.REDEFINED. */
    private static boolean redefined(ApiMessageType type, short version) {
        return version > type.highestSupportedVersion(false) && type.name.equals("ReadShareGroupStateSummary");
    }

    public static void main(String[] arguments) throws Exception {
        Process tool = new ProcessBuilder(arguments[0]).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        RelayEdits test = new RelayEdits(tool);
        for (String line : java.nio.file.Files.readAllLines(java.nio.file.Path.of(arguments[1]))) {
            String[] words = line.split(" ");
            test.ranges.put(Integer.parseInt(words[0]),
                new int[] {Integer.parseInt(words[1]), Integer.parseInt(words[2])});
        }
        test.run(Integer.parseInt(arguments[2]));
        test.jobs.close();
        if (tool.waitFor() != 0)
            throw new IllegalStateException("hr-relay-edit ended with " + tool.exitValue());
        System.exit(test.failures == 0 ? 0 : 1);
    }
}
