package hrmock;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.Provider;
import java.security.Security;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.security.auth.Subject;
import javax.security.auth.callback.CallbackHandler;
import javax.security.auth.spi.LoginModule;
import javax.security.sasl.Sasl;
import javax.security.sasl.SaslException;
import javax.security.sasl.SaslServer;
import javax.security.sasl.SaslServerFactory;
import org.apache.kafka.common.errors.SaslAuthenticationException;

/**
 * A mock of what MSK adds to a broker: the mechanism AWS_MSK_IAM, whose signatures it makes again with keys of its own
 * configuration. Options: key_ID="secret" for each key that is known, token_ID="token" where one must come with it,
 * lifetime_ms for how long a login lasts.
 */
public class MockIam implements LoginModule {
    private static final Map<String, String> OPTIONS = new ConcurrentHashMap<>();
    private static final String[] MECHANISMS = {"AWS_MSK_IAM"};
    private static int serial;

    static {
        Security.addProvider(new MockProvider());
    }

    public static class MockProvider extends Provider {
        public MockProvider() {
            super("mock IAM", "1", "AWS_MSK_IAM for tests");
            put("SaslServerFactory." + MECHANISMS[0], Factory.class.getName());
        }
    }

    @Override
    public void initialize(Subject subject, CallbackHandler handler, Map<String, ?> state, Map<String, ?> options) {
        options.forEach((name, value) -> OPTIONS.put(name, value.toString()));
    }

    @Override
    public boolean login() {
        return true;
    }

    @Override
    public boolean commit() {
        return true;
    }

    @Override
    public boolean abort() {
        return false;
    }

    @Override
    public boolean logout() {
        return true;
    }

    public static class Factory implements SaslServerFactory {
        @Override
        public SaslServer createSaslServer(String mechanism, String protocol, String name, Map<String, ?> props,
                                           CallbackHandler handler) {
            return new Server();
        }

        @Override
        public String[] getMechanismNames(Map<String, ?> props) {
            return MECHANISMS;
        }
    }

    private static class Server implements SaslServer {
        private final String id = "mock-" + ++serial;
        private String key;
        private boolean complete;

        @Override
        public byte[] evaluateResponse(byte[] message) throws SaslException {
            Map<String, String> said = new HashMap<>();
            try {
                JsonNode json = new ObjectMapper().readTree(message);
                json.fields().forEachRemaining(field -> said.put(field.getKey(), field.getValue().asText()));
                check(said);
            } catch (SaslAuthenticationException e) {
                throw e;
            } catch (Exception e) {
                throw deny("malformed: " + e);
            }
            complete = true;
            return ("{\"version\":\"2020_10_22\",\"request-id\":\"" + id + "\"}").getBytes(StandardCharsets.UTF_8);
        }

        private SaslAuthenticationException deny(String why) {
            return new SaslAuthenticationException("[" + id + "]: Access denied: " + why);
        }

        private void check(Map<String, String> said) throws Exception {
            String[] scope = said.get("x-amz-credential").split("/");
            String date = said.get("x-amz-date");
            String token = said.get("x-amz-security-token");
            Instant signed = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC)
                    .parse(date, Instant::from);
            long age = Instant.now().getEpochSecond() - signed.getEpochSecond();
            if (!"2020_10_22".equals(said.get("version")) || !"kafka-cluster:Connect".equals(said.get("action"))
                    || !"host".equals(said.get("x-amz-signedheaders")) || scope.length != 5
                    || !scope[3].equals("kafka-cluster") || !scope[4].equals("aws4_request") || !scope[1].equals(date.substring(0, 8)))
                throw deny("parts");
            if (age < -300 || age > Long.parseLong(said.get("x-amz-expires")))
                throw deny("expired");
            key = scope[0];
            String secret = OPTIONS.get("key_" + key);
            if (secret == null)
                throw deny("unknown key");
            String wanted = OPTIONS.get("token_" + key);
            if (wanted != null && !wanted.equals(token))
                throw deny("token");
            String query = "Action=" + encode(said.get("action"))
                    + "&X-Amz-Algorithm=" + encode(said.get("x-amz-algorithm"))
                    + "&X-Amz-Credential=" + encode(said.get("x-amz-credential"))
                    + "&X-Amz-Date=" + date
                    + "&X-Amz-Expires=" + said.get("x-amz-expires")
                    + (token == null ? "" : "&X-Amz-Security-Token=" + encode(token))
                    + "&X-Amz-SignedHeaders=host";
            String request = "GET\n/\n" + query + "\nhost:" + said.get("host") + "\n\nhost\n" + hex(sha256(""));
            String text = "AWS4-HMAC-SHA256\n" + date + "\n" + scope[1] + "/" + scope[2] + "/" + scope[3] + "/" + scope[4]
                    + "\n" + hex(sha256(request));
            byte[] mac = ("AWS4" + secret).getBytes(StandardCharsets.UTF_8);
            for (int i = 1; i <= 4; i++)
                mac = hmac(mac, scope[i]);
            if (!hex(hmac(mac, text)).equals(said.get("x-amz-signature")))
                throw deny("signature");
        }

        @Override
        public boolean isComplete() {
            return complete;
        }

        @Override
        public String getAuthorizationID() {
            return key;
        }

        @Override
        public Object getNegotiatedProperty(String name) {
            String lifetime = OPTIONS.get("lifetime_ms");
            if (name.equals("CREDENTIAL.LIFETIME.MS") && lifetime != null)
                return System.currentTimeMillis() + Long.parseLong(lifetime);
            return name.equals(Sasl.QOP) ? "auth" : null;
        }

        @Override
        public String getMechanismName() {
            return MECHANISMS[0];
        }

        @Override
        public byte[] unwrap(byte[] in, int offset, int len) {
            throw new IllegalStateException();
        }

        @Override
        public byte[] wrap(byte[] out, int offset, int len) {
            throw new IllegalStateException();
        }

        @Override
        public void dispose() {
        }
    }

    private static String encode(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20").replace("*", "%2A").replace("%7E", "~");
    }

    private static byte[] sha256(String text) throws Exception {
        return MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
    }

    private static byte[] hmac(byte[] key, String text) throws Exception {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String hex(byte[] bytes) {
        StringBuilder text = new StringBuilder();
        for (byte b : bytes)
            text.append(String.format("%02x", b));
        return text.toString();
    }
}
