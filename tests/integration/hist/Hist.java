import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.util.Random;
import org.HdrHistogram.Histogram;
import org.HdrHistogram.HistogramIterationValue;

/**
 * A million values of a latency-like distribution with a heavy tail go to HdrHistogram (three digits) and to hr-hist.
 * The slots that counted, their counts, the mean and a million percentiles must be the same.
 */
public class Hist {
    static final int VALUES = 1_000_000;
    static final int STEPS = 1_000_000;
    static final long MAX = (1L << 42) - 1;

    static void fail(String what) {
        System.out.println("hist: " + what);
        System.exit(1);
    }

    static long value(Random random) {
        if (random.nextInt(1000) == 0)
            return (long) (random.nextDouble() * (1L << random.nextInt(42)));
        return (long) Math.exp(10 + random.nextGaussian());
    }

    public static void main(String[] args) throws Exception {
        long seed = args.length > 1 ? Long.parseLong(args[1]) : 20240607;
        Histogram theirs = new Histogram(1, MAX, 3);
        File file = File.createTempFile("headrace-hist", ".txt");
        Random random = new Random(seed);
        try (PrintWriter out = new PrintWriter(file)) {
            for (int i = 0; i < VALUES; i++) {
                long v = value(random);
                theirs.recordValue(v);
                out.println(v);
            }
        }
        Process tool = new ProcessBuilder(args[0], Integer.toString(STEPS)).redirectInput(file)
                .redirectError(ProcessBuilder.Redirect.INHERIT).start();
        int slots = 0;
        try (BufferedReader in = new BufferedReader(new InputStreamReader(tool.getInputStream()))) {
            double mean = Double.parseDouble(in.readLine().split(" ")[1]);
            if (Math.abs(mean - theirs.getMean()) > 1e-9 * mean)
                fail("mean " + mean + ", HdrHistogram says " + theirs.getMean());
            for (HistogramIterationValue it : theirs.recordedValues()) {
                String expected = "slot " + theirs.lowestEquivalentValue(it.getValueIteratedTo()) + " "
                        + it.getCountAtValueIteratedTo();
                String line = in.readLine();
                if (!expected.equals(line))
                    fail("\"" + line + "\", HdrHistogram says \"" + expected + "\" (seed " + seed + ")");
                slots++;
            }
            for (int i = 0; i <= STEPS; i++) {
                double percentile = 100.0 * i / STEPS;
                String line = in.readLine();
                if (line == null || Long.parseLong(line) != theirs.getValueAtPercentile(percentile))
                    fail("percentile " + percentile + ": " + line + ", HdrHistogram says "
                            + theirs.getValueAtPercentile(percentile) + " (seed " + seed + ")");
            }
            if (in.readLine() != null)
                fail("more output than expected");
        }
        file.delete();
        if (tool.waitFor() != 0 || slots < 1000)
            fail("hr-hist ended with " + tool.exitValue() + ", " + slots + " slots");
        System.out.println("hist: " + VALUES + " values, " + slots + " slots and " + (STEPS + 1)
                + " percentiles as HdrHistogram has them");
    }
}
