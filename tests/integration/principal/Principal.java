import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.HexFormat;
import org.apache.kafka.common.security.ssl.SslPrincipalMapper;

/** Compares lines of hr-principal with X500Principal and SslPrincipalMapper: see run. */
public class Principal {
    static final HexFormat HEX = HexFormat.of();
    static int cases, refused, failures;

    static String text(String hex) {
        return new String(HEX.parseHex(hex), StandardCharsets.UTF_8);
    }

    static void differ(String what, String theirs, String ours) {
        if (failures++ < 10)
            System.out.println((what + "\n  Java " + theirs + "\n  ours " + ours).replaceAll("[^\\x20-\\x7e\n]", "?"));
    }

    static void subject(String[] fields) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        X509Certificate cert = (X509Certificate) factory.generateCertificate(new ByteArrayInputStream(HEX.parseHex(fields[0])));
        String theirs = cert.getSubjectX500Principal().getName();
        cases++;
        if (fields[1].equals("-")) {
            refused++;
            // For one reason alone: Java has lost bytes.
            if (theirs.indexOf('\ufffd') < 0)
                differ(fields[0], theirs, "refused");
        } else if (!theirs.equals(text(fields[1]))) {
            differ(fields[0], theirs, text(fields[1]));
        }
    }

    static void rule(String[] fields) {
        String rules = text(fields[0]), dn = text(fields[1]), theirs;
        try {
            theirs = SslPrincipalMapper.fromRules(rules).getName(dn);
        } catch (Exception e) {
            theirs = null;
        }
        cases++;
        boolean none = fields[2].equals("-") || fields[2].equals("!");
        refused += none ? 1 : 0;
        // A principal without a name is none here; rules that fail for some names in Kafka fail when they are read.
        if (none ? theirs != null && !theirs.isEmpty() && !fields[2].equals("!") : !text(fields[2]).equals(theirs))
            differ(rules + " of " + dn, theirs, none ? fields[2] : text(fields[2]));
    }

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line; (line = in.readLine()) != null;) {
            String[] fields = line.split("\t", -1);
            if (fields.length == 2)
                subject(fields);
            else
                rule(fields);
        }
        System.out.println("sum cases=" + cases + " refused=" + refused + " failures=" + failures);
        System.exit(failures == 0 ? 0 : 1);
    }
}
