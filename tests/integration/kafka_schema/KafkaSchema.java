import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Random;
import java.util.Set;

import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.Message;

/**
 * Holds Headrace's codec against Kafka's own classes, for every API that a broker offers to clients, every
 * version, both directions and several seeds: Kafka encodes random content; hr-codec decodes it to JSON, which must
 * say what the message says; hr-codec encodes the JSON, which must give the same bytes; Kafka decodes those to an
 * equal message.
 *
 * Arguments: path of hr-codec, number of seeds. Prints "api KEY NAME OLDEST LATEST LATEST_STABLE" lines for the
 * runner, "FAIL ..." lines, and one "sum ..." line.
 */
public final class KafkaSchema {
    private static final int MAX_FAILURES_SHOWN = 20;
    /** Unstable in an older release, and another message under the same number since: the newer one is ours. */
    private static final Set<String> REDEFINED = Set.of("ReadShareGroupStateSummary 0");

    private final BufferedWriter jobs;
    private final BufferedReader answers;
    private final int seeds;
    private final Set<String> shown = new HashSet<>();
    private int messages;
    private int versions;
    private int failures;
    private long bytesSeen;

    private KafkaSchema(Process codec, int seeds) {
        jobs = new BufferedWriter(new OutputStreamWriter(codec.getOutputStream(), StandardCharsets.UTF_8));
        answers = new BufferedReader(new InputStreamReader(codec.getInputStream(), StandardCharsets.UTF_8), 1 << 16);
        this.seeds = seeds;
    }

    private String ask(String job) throws IOException {
        jobs.write(job);
        jobs.write('\n');
        jobs.flush();
        String answer = answers.readLine();
        if (answer == null)
            throw new IOException("hr-codec went away");
        return answer;
    }

    /** Shows the first failure of each API, version and direction. */
    private void fail(String what, String seed, String why) {
        failures++;
        if (shown.add(what) && shown.size() <= MAX_FAILURES_SHOWN)
            System.out.println("FAIL " + what + seed + ": " + why);
    }

    /** Null if all is well. */
    private String check(Message message, int key, short version, String direction, byte[] bytes) throws IOException {
        String target = " " + key + " " + version + " " + direction + " ";
        String decoded = ask("decode" + target + Messages.hex(bytes));
        if (!decoded.startsWith("ok "))
            return "decode: " + decoded;
        String json = decoded.substring(3);
        String difference = Messages.difference(message, Json.parse(json), version);
        if (difference != null)
            return "JSON: " + difference;
        String encoded = ask("encode" + target + json);
        if (!encoded.startsWith("ok "))
            return "encode: " + encoded;
        byte[] ours = Messages.unhex(encoded.substring(3));
        if (!Arrays.equals(ours, bytes))
            return "encoded differently: " + encoded.substring(3);
        if (!Messages.decode(message.getClass(), ours, version).equals(message))
            return "Kafka's class reads another message from our bytes";
        return null;
    }

    private void checkVersion(Class<? extends Message> type, String name, int key, short version, String direction)
            throws IOException {
        for (int seed = 1; seed <= seeds; seed++) {
            Random random = new Random(seed * 1_000_003L + key * 4099L + version * 31L + direction.length());
            Message message = Messages.create(type);
            if (seed > 1) // the first stays as it is created: all defaults
                Messages.fill(message, version, random);
            String what = name + " version " + version + " " + direction, at = " seed " + seed;
            byte[] bytes = null;
            try {
                bytes = Messages.encode(message, version);
            } catch (RuntimeException e) {
                if (seed == 1)
                    continue; // Kafka itself cannot write a default that this version does not allow
                fail(what, at, "Kafka's class cannot encode it: " + e);
                continue;
            }
            messages++;
            bytesSeen += bytes.length;
            String why;
            try {
                why = check(message, key, version, direction, bytes);
            } catch (RuntimeException e) {
                why = e.toString();
            }
            if (why != null)
                fail(what, at, why + "; hex " + Messages.hex(bytes));
        }
    }

    private void checkHeaderVersions(ApiMessageType type, short version) throws IOException {
        String want = "ok " + type.requestHeaderVersion(version) + " " + type.responseHeaderVersion(version);
        String got = ask("headers " + type.apiKey() + " " + version);
        if (!got.equals(want))
            fail(type.name + " version " + version, "", "header versions: " + got + ", Kafka says " + want);
    }

    private void run() throws IOException {
        int apis = 0;
        for (ApiKeys api : ApiKeys.apisForListener(ApiMessageType.ListenerType.BROKER)) {
            ApiMessageType type = api.messageType;
            short oldest = type.lowestSupportedVersion(), latest = type.highestSupportedVersion(true);
            if (oldest > latest)
                continue; // removed from this release
            System.out.println("api " + type.apiKey() + " " + type.name + " " + oldest + " " + latest + " "
                + type.highestSupportedVersion(false));
            apis++;
            for (short version = oldest; version <= latest; version++) {
                if (version > type.highestSupportedVersion(false) && REDEFINED.contains(type.name + " " + version)) {
                    System.out.println("note " + type.name + " version " + version + " is unstable here: left out");
                    continue;
                }
                versions++;
                checkHeaderVersions(type, version);
                checkVersion(type.newRequest().getClass(), type.name, api.id, version, "request");
                checkVersion(type.newResponse().getClass(), type.name, api.id, version, "response");
            }
        }
        for (short version = 1; version <= 2; version++)
            checkVersion(RequestHeaderData.class, "header", 0, version, "request-header");
        for (short version = 0; version <= 1; version++)
            checkVersion(ResponseHeaderData.class, "header", 0, version, "response-header");
        System.out.println("sum apis=" + apis + " versions=" + versions + " messages=" + messages + " bytes="
            + bytesSeen + " failures=" + failures);
    }

    public static void main(String[] arguments) throws Exception {
        Process codec = new ProcessBuilder(arguments[0], "batch")
            .redirectError(ProcessBuilder.Redirect.INHERIT).start();
        KafkaSchema test = new KafkaSchema(codec, Integer.parseInt(arguments[1]));
        test.run();
        test.jobs.close();
        if (codec.waitFor() != 0)
            throw new IllegalStateException("hr-codec ended with " + codec.exitValue());
        System.exit(test.failures == 0 ? 0 : 1);
    }
}
