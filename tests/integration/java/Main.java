package hrtest;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;

/**
 * The tests' Java client: one JVM that runs many commands, because starting a JVM costs more than most of them.
 *
 * Each line of standard input is `ID \t COMMAND \t KEY=VALUE ...`; each line of standard output is the JSON result
 * of one command, with its id. Commands run on threads of their own, so that a load can go on while others run.
 * Core holds what every client from 2.8 on can do; Modern what needs 4.x, and is only compiled there.
 */
public final class Main {
    interface Command {
        Map<String, Object> run(Args args) throws Exception;
    }

    /** The KEY=VALUE words of one command. */
    static final class Args {
        private final Map<String, String> values = new HashMap<>();

        String text(String key, String otherwise) {
            return values.getOrDefault(key, otherwise);
        }

        String text(String key) {
            String v = values.get(key);
            if (v == null) {
                throw new IllegalArgumentException("missing argument " + key);
            }
            return v;
        }

        /** What is named conf.X is setting X of the client. */
        void settings(Map<Object, Object> into) {
            values.forEach((k, v) -> {
                if (k.startsWith("conf.")) {
                    into.put(k.substring(5), v);
                }
            });
        }

        int number(String key, int otherwise) {
            return values.containsKey(key) ? Integer.parseInt(values.get(key)) : otherwise;
        }
    }

    private static final Map<String, Command> COMMANDS = new HashMap<>();

    public static void main(String[] argv) throws Exception {
        Core.register(COMMANDS);
        Load.register(COMMANDS);
        try {
            Class.forName("hrtest.Modern").getDeclaredMethod("register", Map.class).invoke(null, COMMANDS);
        } catch (ClassNotFoundException older) {
            // An old client: what only new ones can do is an unknown command.
        }
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split("\t");
            Args args = new Args();
            for (int i = 2; i < words.length; i++) {
                int eq = words[i].indexOf('=');
                args.values.put(words[i].substring(0, eq), words[i].substring(eq + 1));
            }
            Thread t = new Thread(() -> answer(words[0], words[1], args), words[1]);
            t.setDaemon(true);
            t.start();
        }
        Runtime.getRuntime().halt(0);
    }

    private static void answer(String id, String name, Args args) {
        Map<String, Object> out = new TreeMap<>();
        long start = System.nanoTime();
        try {
            Command c = COMMANDS.get(name);
            if (c == null) {
                throw new IllegalArgumentException("unknown command " + name);
            }
            out.putAll(c.run(args));
            out.put("ok", true);
        } catch (Throwable e) {
            Throwable shown = e instanceof java.util.concurrent.ExecutionException && e.getCause() != null ? e.getCause() : e;
            out.put("ok", false);
            out.put("error", shown.getClass().getSimpleName() + ": " + shown.getMessage());
            StringBuilder where = new StringBuilder();
            for (StackTraceElement s : e.getStackTrace()) {
                if (s.getClassName().startsWith("hrtest.")) {
                    where.append(s).append("; ");
                }
            }
            out.put("where", where.toString());
        }
        out.put("id", id);
        out.put("seconds", (System.nanoTime() - start) / 1e9);
        synchronized (System.out) {
            System.out.println(json(out));
            System.out.flush();
        }
    }

    static String json(Object v) {
        if (v == null || v instanceof Number || v instanceof Boolean) {
            return String.valueOf(v);
        }
        StringBuilder b = new StringBuilder();
        if (v instanceof Map) {
            b.append('{');
            for (Map.Entry<?, ?> e : ((Map<?, ?>) v).entrySet()) {
                b.append(b.length() > 1 ? "," : "").append(json(String.valueOf(e.getKey()))).append(':')
                    .append(json(e.getValue()));
            }
            return b.append('}').toString();
        }
        if (v instanceof Collection) {
            b.append('[');
            for (Object e : (Collection<?>) v) {
                b.append(b.length() > 1 ? "," : "").append(json(e));
            }
            return b.append(']').toString();
        }
        b.append('"');
        for (char c : v.toString().toCharArray()) {
            if (c == '"' || c == '\\') {
                b.append('\\').append(c);
            } else if (c < 0x20) {
                b.append(String.format("\\u%04x", (int) c));
            } else {
                b.append(c);
            }
        }
        return b.append('"').toString();
    }
}
