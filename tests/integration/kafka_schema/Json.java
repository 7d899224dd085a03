import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A reader of JSON text, because no library comes with kafka-clients: maps, lists, strings, Long, Double. */
final class Json {
    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    static Object parse(String text) {
        Json json = new Json(text);
        Object value = json.value();
        json.skipSpace();
        if (json.at != text.length())
            throw json.bad("text behind the value");
        return value;
    }

    private IllegalArgumentException bad(String why) {
        return new IllegalArgumentException(why + " at " + at);
    }

    private void skipSpace() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0)
            at++;
    }

    private boolean take(String token) {
        skipSpace();
        if (!text.startsWith(token, at))
            return false;
        at += token.length();
        return true;
    }

    private void must(String token) {
        if (!take(token))
            throw bad("no " + token);
    }

    private Object value() {
        if (take("{"))
            return object();
        if (take("["))
            return array();
        if (take("\""))
            return string();
        if (take("null"))
            return null;
        if (take("true"))
            return true;
        if (take("false"))
            return false;
        return number();
    }

    private Map<String, Object> object() {
        Map<String, Object> map = new LinkedHashMap<>();
        if (take("}"))
            return map;
        do {
            must("\"");
            String key = string();
            must(":");
            if (map.put(key, value()) != null)
                throw bad(key + " twice");
        } while (take(","));
        must("}");
        return map;
    }

    private List<Object> array() {
        List<Object> list = new ArrayList<>();
        if (take("]"))
            return list;
        do {
            list.add(value());
        } while (take(","));
        must("]");
        return list;
    }

    private String string() {
        StringBuilder out = new StringBuilder();
        for (;;) {
            char c = text.charAt(at++);
            if (c == '"')
                return out.toString();
            if (c != '\\') {
                out.append(c);
                continue;
            }
            c = text.charAt(at++);
            int simple = "bfnrt".indexOf(c);
            if (c == 'u') {
                out.append((char) Integer.parseInt(text.substring(at, at + 4), 16));
                at += 4;
            } else {
                out.append(simple < 0 ? c : "\b\f\n\r\t".charAt(simple));
            }
        }
    }

    private Object number() {
        int start = at;
        while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0)
            at++;
        String digits = text.substring(start, at);
        if (digits.matches("-?[0-9]+"))
            return Long.parseLong(digits);
        return Double.parseDouble(digits);
    }
}
