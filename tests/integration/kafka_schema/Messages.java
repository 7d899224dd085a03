import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;

/**
 * Kafka's generated message classes, handled without naming any of them: filled at random, encoded, decoded, and
 * compared with our JSON. Which fields a version has, and which may be null, comes from the SCHEMAS that each
 * generated class carries, not from Headrace's table.
 *
 * Reflection also bridges releases: packages of helpers have moved between 3.9 and 4.4.
 */
final class Messages {
    /** One field of one version: how it is set and read, and its wire type. */
    record Slot(String name, Method setter, Method getter, org.apache.kafka.common.protocol.types.Type type,
                boolean tagged) {
        boolean is(String part) {
            return type.toString().toUpperCase(Locale.ROOT).contains(part);
        }

        Object get(Object message) {
            return call(getter, message);
        }
    }

    private static final int FIRST_UNKNOWN_TAG = 1000;
    /** Names of older releases, as the newest one calls them; on the wire nothing changed. */
    private static final Map<String, String> RENAMED = Map.of(
        "generationid", "generationidormemberepoch",
        "clientmetricsresources", "configresources",
        "name", "resourcename");
    private static final Map<String, List<Slot>> SLOTS = new HashMap<>();

    private Messages() {
    }

    static Object call(Method method, Object target, Object... arguments) {
        try {
            method.setAccessible(true);
            return method.invoke(target, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause() instanceof RuntimeException r ? r : new IllegalStateException(e.getCause());
        } catch (IllegalAccessException e) {
            throw new IllegalStateException(e);
        }
    }

    static Message create(Class<?> type) {
        try {
            return (Message) type.getDeclaredConstructor().newInstance();
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    static byte[] encode(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining())
            throw new IllegalStateException("Kafka's class wrote less than it announced");
        return buffer.array();
    }

    static Message decode(Class<?> type, byte[] bytes, short version) {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        Message message = create(type);
        message.read(new ByteBufferAccessor(buffer), version);
        if (buffer.hasRemaining())
            throw new IllegalArgumentException(buffer.remaining() + " bytes left over");
        return message;
    }

    static Schema schema(Class<?> type, short version) {
        try {
            return ((Schema[]) type.getField("SCHEMAS").get(null))[version];
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    /** "NodeEndpoints", "nodeEndpoints" and "node_endpoints" are the same name. */
    static String plain(String name) {
        return name.replace("_", "").toLowerCase(Locale.ROOT);
    }

    static boolean flexible(Class<?> type, short version) {
        for (BoundField field : schema(type, version).fields()) {
            if (field.def.type instanceof TaggedFields)
                return true;
        }
        return false;
    }

    static List<Slot> slots(Class<?> type, short version) {
        return SLOTS.computeIfAbsent(type.getName() + "/" + version, key -> findSlots(type, version));
    }

    private static List<Slot> findSlots(Class<?> type, short version) {
        Map<String, Method> setters = new HashMap<>(), getters = new HashMap<>();
        for (Method method : type.getMethods()) {
            if (method.getName().startsWith("set") && method.getParameterCount() == 1)
                setters.put(plain(method.getName().substring(3)), method);
            else if (method.getParameterCount() == 0)
                getters.put(plain(method.getName()), method);
        }
        List<Slot> slots = new ArrayList<>();
        for (BoundField bound : schema(type, version).fields()) {
            if (bound.def.type instanceof TaggedFields tags) {
                for (Field field : tagged(tags).values())
                    slots.add(slot(field, setters, getters, true));
            } else {
                slots.add(slot(bound.def, setters, getters, false));
            }
        }
        return slots;
    }

    /** The accessor of this map is newer than 3.9. */
    @SuppressWarnings("unchecked")
    private static Map<Integer, Field> tagged(TaggedFields tags) {
        try {
            java.lang.reflect.Field fields = TaggedFields.class.getDeclaredField("fields");
            fields.setAccessible(true);
            return (Map<Integer, Field>) fields.get(tags);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    private static Slot slot(Field field, Map<String, Method> setters, Map<String, Method> getters, boolean tagged) {
        String name = plain(field.name);
        if (setters.get(name) == null || getters.get(name) == null)
            throw new IllegalStateException("no setter or getter for " + field.name);
        return new Slot(name, setters.get(name), getters.get(name), field.type, tagged);
    }

    // --- random content -----------------------------------------------------------------------------------

    /** Sets every field that the version has; some tagged ones keep their default, some fields become null. */
    static void fill(Message message, short version, Random random) {
        for (Slot slot : slots(message.getClass(), version)) {
            if (slot.tagged() && random.nextInt(4) == 0)
                continue;
            Object value = slot.type().isNullable() && random.nextInt(5) == 0
                ? null : value(slot, slot.setter().getGenericParameterTypes()[0], version, random);
            call(slot.setter(), message, value);
        }
        if (flexible(message.getClass(), version) && random.nextInt(4) == 0) {
            int tag = FIRST_UNKNOWN_TAG;
            for (int i = random.nextInt(3); i >= 0; i--) {
                message.unknownTaggedFields().add(new RawTaggedField(tag, bytes(random)));
                tag += 1 + random.nextInt(1 << 20);
            }
        }
    }

    private static Object value(Slot slot, Type type, short version, Random random) {
        if (type instanceof ParameterizedType list) {
            List<Object> values = new ArrayList<>();
            for (int i = random.nextInt(4); i > 0; i--)
                values.add(value(slot, list.getActualTypeArguments()[0], version, random));
            return values;
        }
        Class<?> c = (Class<?>) type;
        if (c == boolean.class || c == Boolean.class)
            return random.nextBoolean();
        if (c == byte.class || c == Byte.class)
            return (byte) number(8, random);
        if (c == short.class || c == Short.class)
            return (short) number(16, random);
        if (c == int.class || c == Integer.class)
            return slot.is("UINT16") ? (int) number(16, random) & 0xffff : (int) number(32, random);
        if (c == long.class || c == Long.class)
            return slot.is("UINT32") || slot.is("UNSIGNED_INT32") ? number(32, random) & 0xffffffffL
                : number(64, random);
        if (c == double.class || c == Double.class)
            return random.nextBoolean() ? random.nextGaussian() * Math.pow(10, random.nextInt(600) - 300)
                : (double) random.nextInt();
        if (c == Uuid.class)
            return random.nextInt(5) == 0 ? Uuid.ZERO_UUID : new Uuid(random.nextLong(), random.nextLong());
        if (c == String.class)
            return string(random);
        if (c == byte[].class)
            return bytes(random);
        if (c == ByteBuffer.class)
            return ByteBuffer.wrap(bytes(random));
        if (c.getSimpleName().equals("BaseRecords"))
            return records(c, bytes(random));
        if (Collection.class.isAssignableFrom(c))
            return collection(slot, c, version, random);
        Message nested = create(c);
        fill(nested, version, random);
        return nested;
    }

    /** Kafka's hashed collections: NodeEndpointCollection extends ImplicitLinkedHashMultiCollection<NodeEndpoint>. */
    @SuppressWarnings("unchecked")
    private static Object collection(Slot slot, Class<?> type, short version, Random random) {
        try {
            Collection<Object> values = (Collection<Object>) type.getDeclaredConstructor().newInstance();
            Type element = ((ParameterizedType) type.getGenericSuperclass()).getActualTypeArguments()[0];
            for (int i = random.nextInt(4); i > 0; i--)
                values.add(value(slot, element, version, random));
            return values;
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    private static Object records(Class<?> base, byte[] bytes) {
        try {
            Class<?> memory = Class.forName(base.getPackageName() + ".MemoryRecords");
            return call(memory.getMethod("readableRecords", ByteBuffer.class), null, ByteBuffer.wrap(bytes));
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    private static long number(int bits, Random random) {
        switch (random.nextInt(6)) {
            case 0:
                return 0;
            case 1:
                return -1;
            case 2:
                return 1L << (bits - 1); // the least
            case 3:
                return (1L << (bits - 1)) - 1; // the greatest
            default:
                return random.nextLong() >> random.nextInt(64);
        }
    }

    private static String string(Random random) {
        String[] odd = {"", "\u0000", "\"\\/\b\f\n\r\t", "\u00fc\u6f22\ud83d\ude00", "\u007f\u0080\uffff"};
        if (random.nextInt(4) == 0)
            return odd[random.nextInt(odd.length)];
        StringBuilder out = new StringBuilder();
        int length = random.nextInt(20) == 0 ? 100 + random.nextInt(200) : random.nextInt(12);
        for (int i = 0; i < length; i++)
            out.append((char) ('a' + random.nextInt(26)));
        return out.toString();
    }

    private static byte[] bytes(Random random) {
        byte[] bytes = new byte[random.nextInt(20) == 0 ? 120 + random.nextInt(300) : random.nextInt(16)];
        random.nextBytes(bytes);
        return bytes;
    }

    // --- comparison with our JSON -------------------------------------------------------------------------

    /** Where the JSON says something else than the message, or null. */
    static String difference(Message message, Object json, short version) {
        if (!(json instanceof Map<?, ?> object))
            return "not an object";
        Map<String, Object> byName = new LinkedHashMap<>();
        object.forEach((key, value) -> byName.put(plain((String) key), value));
        for (Slot slot : slots(message.getClass(), version)) {
            String name = slot.name();
            if (!byName.containsKey(name))
                name = RENAMED.getOrDefault(name, name);
            if (!byName.containsKey(name))
                return name + " is missing";
            String where = differenceOf(slot.get(message), byName.remove(name), version);
            if (where != null)
                return slot.name() + ": " + where;
        }
        Object tags = byName.remove("tags");
        Map<String, Object> expected = new HashMap<>();
        for (RawTaggedField tag : message.unknownTaggedFields())
            expected.put(String.valueOf(tag.tag()), hex(tag.data()));
        if (!expected.equals(tags == null ? Map.of() : tags))
            return "unknown tags are " + tags;
        return byName.isEmpty() ? null : "has " + byName.keySet() + " besides";
    }

    private static String differenceOf(Object value, Object json, short version) {
        if (value instanceof Collection<?> values) {
            if (!(json instanceof List<?> list) || list.size() != values.size())
                return "not " + values.size() + " elements";
            int i = 0;
            for (Object element : values) {
                String where = differenceOf(element, list.get(i), version);
                if (where != null)
                    return "[" + i + "] " + where;
                i++;
            }
            return null;
        }
        if (value instanceof Message nested)
            return difference(nested, json, version);
        Object expected = scalar(value);
        return expected == null ? (json == null ? null : "not null")
            : expected.equals(json) ? null : "is " + json + ", should be " + expected;
    }

    private static Object scalar(Object value) {
        if (value instanceof Byte || value instanceof Short || value instanceof Integer)
            return ((Number) value).longValue();
        if (value instanceof Uuid uuid)
            return new java.util.UUID(uuid.getMostSignificantBits(), uuid.getLeastSignificantBits()).toString();
        if (value instanceof byte[] bytes)
            return hex(bytes);
        if (value instanceof ByteBuffer buffer)
            return hex(buffer);
        if (value != null && value.getClass().getSimpleName().equals("MemoryRecords")) {
            try {
                return hex((ByteBuffer) call(value.getClass().getMethod("buffer"), value));
            } catch (NoSuchMethodException e) {
                throw new IllegalStateException(e);
            }
        }
        return value;
    }

    static String hex(byte[] bytes) {
        return HexFormat.of().formatHex(bytes);
    }

    private static String hex(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return hex(bytes);
    }

    static byte[] unhex(String text) {
        return HexFormat.of().parseHex(text);
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
