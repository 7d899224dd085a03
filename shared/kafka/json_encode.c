/* From JSON to the wire, as Kafka's own classes would write it: tagged fields only where they differ from
 * their default, tags ascending, unknown ones of "_tags" among them. What a version cannot carry is an error
 * unless the definition calls it ignorable, so that nothing gets lost unseen. */
#include "shared/kafka/json_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct writer {
    uint8_t *buf;
    uint32_t cap, len;
    int16_t version;
    bool flexible;
    struct kj_path path;
};

static int too_large(struct writer *w)
{
    return kj_fail(&w->path, HR_E_TOO_LARGE, "does not fit into %u bytes", w->cap);
}

static int write_uint(struct writer *w, unsigned size, uint64_t value)
{
    if (w->cap - w->len < size)
        return too_large(w);
    for (unsigned i = 0; i < size; i++)
        w->buf[w->len + i] = (uint8_t)(value >> (8 * (size - 1 - i)));
    w->len += size;
    return 0;
}

static unsigned varint_bytes(uint32_t value)
{
    unsigned n = 1;
    while (value >= 0x80) {
        value >>= 7;
        n++;
    }
    return n;
}

static int write_varint(struct writer *w, uint32_t value)
{
    if (w->cap - w->len < varint_bytes(value))
        return too_large(w);
    while (value >= 0x80) {
        w->buf[w->len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    w->buf[w->len++] = (uint8_t)value;
    return 0;
}

/* -1: null. */
static int write_length(struct writer *w, bool compact, unsigned plain_size, int64_t length)
{
    return compact ? write_varint(w, (uint32_t)(length + 1)) : write_uint(w, plain_size, (uint64_t)length);
}

static int write_null_length(struct writer *w, const struct hr_kfield *f, bool compact, unsigned plain_size)
{
    if (!hr_krange_has(f->nullable, w->version))
        return kj_fail(&w->path, HR_E_INVALID, "null, which version %d does not allow", w->version);
    return write_length(w, compact, plain_size, -1);
}

static int write_integer(struct writer *w, const json_t *value, unsigned size, int64_t low, int64_t high)
{
    if (!json_is_integer(value))
        return kj_fail(&w->path, HR_E_INVALID, "wants an integer");
    int64_t number = json_integer_value(value);
    if (number < low || number > high)
        return kj_fail(&w->path, HR_E_INVALID, "%lld is outside %lld to %lld", (long long)number,
                       (long long)low, (long long)high);
    return write_uint(w, size, (uint64_t)number);
}

static int write_string(struct writer *w, const struct hr_kfield *f, const json_t *value, bool element)
{
    bool compact = w->flexible && !f->no_flex;
    if (json_is_null(value) && !element)
        return write_null_length(w, f, compact, 2);
    if (!json_is_string(value))
        return kj_fail(&w->path, HR_E_INVALID, "wants a string");
    size_t length = json_string_length(value);
    if (length > KJ_STRING_MAX)
        return kj_fail(&w->path, HR_E_TOO_LARGE, "a string of %zu bytes", length);
    int err = write_length(w, compact, 2, (int64_t)length);
    if (err != 0)
        return err;
    if (w->cap - w->len < length)
        return too_large(w);
    memcpy(w->buf + w->len, json_string_value(value), length);
    w->len += (uint32_t)length;
    return 0;
}

static int write_bytes(struct writer *w, const struct hr_kfield *f, const json_t *value, bool element)
{
    if (json_is_null(value) && !element)
        return write_null_length(w, f, w->flexible, 4);
    if (!json_is_string(value))
        return kj_fail(&w->path, HR_E_INVALID, "wants a string of hex digits");
    size_t length = json_string_length(value) / 2;
    if (length > INT32_MAX || length > w->cap - w->len)
        return too_large(w);
    int err = write_length(w, w->flexible, 4, (int64_t)length);
    if (err != 0)
        return err;
    if (length > w->cap - w->len)
        return too_large(w);
    if (!kj_hex_parse(json_string_value(value), json_string_length(value), w->buf + w->len))
        return kj_fail(&w->path, HR_E_INVALID, "wants a string of hex digits");
    w->len += (uint32_t)length;
    return 0;
}

static int write_struct(struct writer *w, const struct hr_kfield *fields, uint16_t n_fields,
                        const json_t *object);

static int write_nested(struct writer *w, const struct hr_kfield *f, const json_t *value, bool element)
{
    if (!element && hr_krange_has(f->nullable, w->version)) {
        int err = write_uint(w, 1, json_is_null(value) ? 0xff : 1);
        if (err != 0 || json_is_null(value))
            return err;
    }
    return write_struct(w, f->children, f->n_children, value);
}

static int write_one(struct writer *w, const struct hr_kfield *f, const json_t *value, bool element)
{
    uint64_t bits;
    switch ((enum hr_ktype)f->type) {
    case HR_KT_BOOL:
        if (!json_is_boolean(value))
            return kj_fail(&w->path, HR_E_INVALID, "wants true or false");
        return write_uint(w, 1, json_is_true(value));
    case HR_KT_INT8:
        return write_integer(w, value, 1, INT8_MIN, INT8_MAX);
    case HR_KT_INT16:
        return write_integer(w, value, 2, INT16_MIN, INT16_MAX);
    case HR_KT_UINT16:
        return write_integer(w, value, 2, 0, UINT16_MAX);
    case HR_KT_INT32:
        return write_integer(w, value, 4, INT32_MIN, INT32_MAX);
    case HR_KT_UINT32:
        return write_integer(w, value, 4, 0, UINT32_MAX);
    case HR_KT_INT64:
        return write_integer(w, value, 8, INT64_MIN, INT64_MAX);
    case HR_KT_FLOAT64:
        if (!kj_float_parse(value, &bits))
            return kj_fail(&w->path, HR_E_INVALID, "wants a number, or its 64 bits as \"0x...\"");
        return write_uint(w, 8, bits);
    case HR_KT_UUID: {
        uint8_t uuid[KJ_UUID_BYTES];
        if (!json_is_string(value) ||
            !kj_uuid_parse(json_string_value(value), json_string_length(value), uuid))
            return kj_fail(&w->path, HR_E_INVALID, "wants a UUID as 8-4-4-4-12 hex digits");
        if (w->cap - w->len < KJ_UUID_BYTES)
            return too_large(w);
        memcpy(w->buf + w->len, uuid, KJ_UUID_BYTES);
        w->len += KJ_UUID_BYTES;
        return 0;
    }
    case HR_KT_STRING:
        return write_string(w, f, value, element);
    case HR_KT_BYTES:
    case HR_KT_RECORDS:
        return write_bytes(w, f, value, element);
    case HR_KT_STRUCT:
        return write_nested(w, f, value, element);
    case HR_KT_NONE:
    case HR_KT_MAX:
        break;
    }
    return kj_fail(&w->path, HR_E_INVALID, "type %u", f->type);
}

static int write_array(struct writer *w, const struct hr_kfield *f, const json_t *value)
{
    if (json_is_null(value))
        return write_null_length(w, f, w->flexible, 4);
    if (!json_is_array(value))
        return kj_fail(&w->path, HR_E_INVALID, "wants an array");
    size_t count = json_array_size(value);
    if (count > INT32_MAX)
        return too_large(w);
    int err = write_length(w, w->flexible, 4, (int64_t)count);
    for (size_t i = 0; err == 0 && i < count; i++) {
        kj_at_index(&w->path, (int64_t)i);
        err = write_one(w, f, json_array_get(value, i), true);
    }
    return err;
}

/* The field as object has it, or its default. */
static int write_field(struct writer *w, const struct hr_kfield *f, const json_t *object)
{
    int err = kj_push(&w->path, f->name);
    if (err != 0)
        return err;
    json_t *made = NULL;
    const json_t *value = json_object_get(object, f->name);
    if (value == NULL) {
        value = made = kj_default(f, w->version);
        if (made == NULL)
            return kj_fail(&w->path, HR_E_NOMEM, "no memory");
    }
    err = f->is_array ? write_array(w, f, value) : write_one(w, f, value, false);
    json_decref(made);
    if (err == 0)
        kj_pop(&w->path);
    return err;
}

/* One entry of a tag section: a known field, or an unknown tag's bytes in hex. */
struct tag_entry {
    uint32_t tag;
    const struct hr_kfield *field; /* NULL: unknown */
    const json_t *hex;
};

static int by_tag(const void *a, const void *b)
{
    const struct tag_entry *x = a, *y = b;
    return x->tag < y->tag ? -1 : x->tag > y->tag;
}

static int parse_tag(struct writer *w, const char *key, uint32_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long tag = strtoull(key, &end, 10);
    if (errno != 0 || *end != '\0' || key[0] < '0' || key[0] > '9' || tag > UINT32_MAX)
        return kj_fail(&w->path, HR_E_INVALID, "\"%.20s\" in " KJ_TAGS_KEY " is no tag", key);
    *ret = (uint32_t)tag;
    return 0;
}

static int write_tag(struct writer *w, const struct tag_entry *entry, const json_t *object)
{
    int err = write_varint(w, entry->tag);
    if (err != 0)
        return err;
    uint32_t start = w->len;
    if (entry->field != NULL) {
        err = write_field(w, entry->field, object);
    } else {
        size_t chars = json_string_length(entry->hex);
        if (chars / 2 > w->cap - w->len)
            return too_large(w);
        if (!json_is_string(entry->hex) ||
            !kj_hex_parse(json_string_value(entry->hex), chars, w->buf + w->len))
            return kj_fail(&w->path, HR_E_INVALID, "tag %u wants a string of hex digits", entry->tag);
        w->len += (uint32_t)(chars / 2);
    }
    if (err != 0)
        return err;

    /* The size goes in front, and its own length depends on it: written behind, then moved. */
    uint32_t size = w->len - start;
    unsigned n = varint_bytes(size);
    if (w->cap - w->len < n)
        return too_large(w);
    memmove(w->buf + start + n, w->buf + start, size);
    w->len = start;
    err = write_varint(w, size);
    w->len = start + n + size;
    return err;
}

static int write_tags(struct writer *w, const struct hr_kfield *fields, uint16_t n_fields,
                      const json_t *object)
{
    json_t *unknown = json_object_get(object, KJ_TAGS_KEY);
    size_t n = 0;
    struct tag_entry *entries = malloc((n_fields + json_object_size(unknown) + 1) * sizeof(*entries));
    if (entries == NULL)
        return kj_fail(&w->path, HR_E_NOMEM, "no memory");
    for (uint16_t i = 0; i < n_fields; i++) {
        const struct hr_kfield *f = &fields[i];
        if (hr_krange_has(f->versions, w->version) && kj_is_tagged(f, w->version, true) &&
            !kj_equals_default(f, json_object_get(object, f->name), w->version))
            entries[n++] = (struct tag_entry){.tag = f->tag, .field = f};
    }
    int err = 0;
    const char *key;
    json_t *hex;
    json_object_foreach(unknown, key, hex)
    {
        uint32_t tag = 0;
        if ((err = parse_tag(w, key, &tag)) != 0)
            goto out;
        entries[n++] = (struct tag_entry){.tag = tag, .hex = hex};
    }
    qsort(entries, n, sizeof(*entries), by_tag);
    for (size_t i = 1; i < n; i++) {
        if (entries[i].tag == entries[i - 1].tag) {
            err = kj_fail(&w->path, HR_E_INVALID, "tag %u twice", entries[i].tag);
            goto out;
        }
    }
    err = write_varint(w, (uint32_t)n);
    for (size_t i = 0; err == 0 && i < n; i++)
        err = write_tag(w, &entries[i], object);
out:
    free(entries);
    return err;
}

/* Names the key that belongs to no field. */
static int fail_stranger(struct writer *w, const struct hr_kfield *fields, uint16_t n_fields,
                         const json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        bool known = strcmp(key, KJ_TAGS_KEY) == 0;
        for (uint16_t i = 0; !known && i < n_fields; i++)
            known = strcmp(fields[i].name, key) == 0;
        if (!known)
            return kj_fail(&w->path, HR_E_INVALID, "no field is called \"%.60s\"", key);
    }
    return kj_fail(&w->path, HR_E_INVALID, "fields that do not belong here");
}

static int write_struct(struct writer *w, const struct hr_kfield *fields, uint16_t n_fields,
                        const json_t *object)
{
    if (!json_is_object(object))
        return kj_fail(&w->path, HR_E_INVALID, "wants an object");
    const json_t *unknown = json_object_get(object, KJ_TAGS_KEY);
    if (unknown != NULL && (!json_is_object(unknown) || (!w->flexible && json_object_size(unknown) > 0)))
        return kj_fail(&w->path, HR_E_INVALID,
                       KJ_TAGS_KEY " must be an object, and empty before flexible versions");

    size_t known = unknown != NULL;
    for (uint16_t i = 0; i < n_fields; i++) {
        const struct hr_kfield *f = &fields[i];
        const json_t *value = json_object_get(object, f->name);
        known += value != NULL;
        if (!hr_krange_has(f->versions, w->version)) {
            if (!f->ignorable && !kj_equals_default(f, value, w->version))
                return kj_fail(&w->path, HR_E_UNSUPPORTED, "version %d cannot carry %s", w->version, f->name);
        } else if (!kj_is_tagged(f, w->version, w->flexible)) {
            int err = write_field(w, f, object);
            if (err != 0)
                return err;
        }
    }
    if (known != json_object_size(object))
        return fail_stranger(w, fields, n_fields, object);
    return w->flexible ? write_tags(w, fields, n_fields, object) : 0;
}

int hr_kjson_encode(const struct hr_kmessage *message, int16_t version, const json_t *obj, uint8_t *buf,
                    uint32_t cap, uint32_t *ret_len, char why[HR_KJSON_WHY_MAX])
{
    struct writer w = {.buf = buf, .cap = cap, .version = version, .path = {.why = why}};
    why[0] = '\0';
    if (!hr_krange_has(message->versions, version))
        return kj_fail(&w.path, HR_E_VERSION, "%s has no version %d here", message->name, version);
    w.flexible = hr_krange_has(message->flexible, version);
    int err = write_struct(&w, message->fields, message->n_fields, obj);
    if (err == 0)
        *ret_len = w.len;
    return err;
}
