/* From the wire to JSON: one cursor over the bytes, one function per shape, the schema table for a grammar.
 *
 * A length is compared with what is left before it is used; an array's count is compared with what its
 * elements need at least, so that few bytes cannot claim many objects. */
#include "shared/kafka/json_internal.h"
#include "shared/kafka/wire.h"

#include <stdio.h>
#include <string.h>

struct reader {
    const uint8_t *at, *end;
    int16_t version;
    bool flexible;
    struct kj_path path;
};

static uint32_t left(const struct reader *r)
{
    return (uint32_t)(r->end - r->at);
}

static int short_of(struct reader *r, uint32_t need)
{
    return kj_fail(&r->path, HR_E_TRUNCATED, "needs %u bytes, %u are left", need, left(r));
}

/* Big-endian, 1 to 8 bytes. */
static int read_uint(struct reader *r, unsigned size, uint64_t *ret)
{
    if (left(r) < size)
        return short_of(r, size);
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value = value << 8 | r->at[i];
    r->at += size;
    *ret = value;
    return 0;
}

static int read_int(struct reader *r, unsigned size, int64_t *ret)
{
    uint64_t value = 0;
    int err = read_uint(r, size, &value);
    if (err == 0) {
        unsigned unused = 64 - 8 * size;
        *ret = (int64_t)(value << unused) >> unused; /* sign-extended */
    }
    return err;
}

/* Unsigned LEB128 of at most 32 bits (KIP-482). */
static int read_varint(struct reader *r, uint32_t *ret)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        if (r->at == r->end)
            return short_of(r, 1);
        uint8_t byte = *r->at++;
        if (shift == 28 && byte > 0x0f)
            break;
        value |= (uint32_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *ret = value;
            return 0;
        }
    }
    return kj_fail(&r->path, HR_E_INVALID, "a varint of more than 32 bits");
}

/* Lengths and counts: compact (one more, 0 is null) or plain (-1 is null). *ret is -1 for null. */
static int read_length(struct reader *r, bool compact, unsigned plain_size, const char *what, int64_t *ret)
{
    int64_t value = 0;
    int err;
    if (compact) {
        uint32_t raw = 0;
        err = read_varint(r, &raw);
        value = err == 0 ? (int64_t)raw - 1 : 0;
    } else {
        err = read_int(r, plain_size, &value);
    }
    if (err != 0)
        return err;
    if (value < -1)
        return kj_fail(&r->path, HR_E_INVALID, "%s %lld", what, (long long)value);
    *ret = value;
    return 0;
}

static int check_null(struct reader *r, const struct hr_kfield *f)
{
    if (!hr_krange_has(f->nullable, r->version))
        return kj_fail(&r->path, HR_E_INVALID, "null, which version %d does not allow", r->version);
    return 0;
}

static int give(struct reader *r, json_t *value, json_t **ret)
{
    if (value == NULL)
        return kj_fail(&r->path, HR_E_NOMEM, "no memory");
    *ret = value;
    return 0;
}

static int read_string(struct reader *r, const struct hr_kfield *f, bool element, json_t **ret)
{
    int64_t length = 0;
    int err = read_length(r, r->flexible && !f->no_flex, 2, "length", &length);
    if (err != 0)
        return err;
    if (length < 0) {
        err = element ? kj_fail(&r->path, HR_E_INVALID, "null in an array of strings") : check_null(r, f);
        return err != 0 ? err : give(r, json_null(), ret);
    }
    if (length > KJ_STRING_MAX)
        return kj_fail(&r->path, HR_E_INVALID, "length %lld of a string", (long long)length);
    if (length > left(r))
        return short_of(r, (uint32_t)length);
    json_t *text = json_stringn((const char *)r->at, (size_t)length);
    if (text == NULL)
        return kj_fail(&r->path, HR_E_INVALID, "not UTF-8");
    r->at += length;
    *ret = text;
    return 0;
}

static int read_bytes(struct reader *r, const struct hr_kfield *f, json_t **ret)
{
    int64_t length = 0;
    int err = read_length(r, r->flexible, 4, "length", &length);
    if (err != 0)
        return err;
    if (length < 0) {
        err = check_null(r, f);
        return err != 0 ? err : give(r, json_null(), ret);
    }
    if (length > left(r))
        return short_of(r, (uint32_t)length);
    err = give(r, kj_hex_text(r->at, (uint32_t)length), ret);
    if (err == 0)
        r->at += length;
    return err;
}

static int read_struct(struct reader *r, const struct hr_kfield *fields, uint16_t n_fields, json_t **ret);

/* One value of the field's type; the field itself, or one element of its array. */
static int read_one(struct reader *r, const struct hr_kfield *f, bool element, json_t **ret)
{
    int64_t number = 0;
    uint64_t bits = 0;
    int err;
    switch ((enum hr_ktype)f->type) {
    case HR_KT_BOOL:
        err = read_int(r, 1, &number);
        return err != 0 ? err : give(r, json_boolean(number != 0), ret);
    case HR_KT_INT8:
        err = read_int(r, 1, &number);
        return err != 0 ? err : give(r, json_integer(number), ret);
    case HR_KT_INT16:
        err = read_int(r, 2, &number);
        return err != 0 ? err : give(r, json_integer(number), ret);
    case HR_KT_UINT16:
        err = read_uint(r, 2, &bits);
        return err != 0 ? err : give(r, json_integer((json_int_t)bits), ret);
    case HR_KT_INT32:
        err = read_int(r, 4, &number);
        return err != 0 ? err : give(r, json_integer(number), ret);
    case HR_KT_UINT32:
        err = read_uint(r, 4, &bits);
        return err != 0 ? err : give(r, json_integer((json_int_t)bits), ret);
    case HR_KT_INT64:
        err = read_int(r, 8, &number);
        return err != 0 ? err : give(r, json_integer(number), ret);
    case HR_KT_FLOAT64:
        err = read_uint(r, 8, &bits);
        return err != 0 ? err : give(r, kj_float_value(bits), ret);
    case HR_KT_UUID:
        if (left(r) < KJ_UUID_BYTES)
            return short_of(r, KJ_UUID_BYTES);
        r->at += KJ_UUID_BYTES;
        return give(r, kj_uuid_text(r->at - KJ_UUID_BYTES), ret);
    case HR_KT_STRING:
        return read_string(r, f, element, ret);
    case HR_KT_BYTES:
    case HR_KT_RECORDS:
        return read_bytes(r, f, ret);
    case HR_KT_STRUCT:
        if (!element && hr_krange_has(f->nullable, r->version)) {
            err = read_int(r, 1, &number);
            if (err != 0)
                return err;
            if (number == -1)
                return give(r, json_null(), ret);
            if (number != 1)
                return kj_fail(&r->path, HR_E_INVALID, "presence %d of a struct", (int)number);
        }
        return read_struct(r, f->children, f->n_children, ret);
    case HR_KT_NONE:
    case HR_KT_MAX:
        break;
    }
    return kj_fail(&r->path, HR_E_INVALID, "type %u", f->type);
}

/* The fewest bytes that one value of the field's type takes. */
static uint32_t least_size(const struct reader *r, const struct hr_kfield *f)
{
    uint32_t width = hr_ktype_width(f->type), sum = 0;
    if (width > 0)
        return width;
    if (f->type == HR_KT_STRING)
        return r->flexible ? 1 : 2;
    if (f->type == HR_KT_BYTES || f->type == HR_KT_RECORDS)
        return r->flexible ? 1 : 4;
    if (f->type != HR_KT_STRUCT)
        return 1;
    for (uint16_t i = 0; i < f->n_children; i++) {
        const struct hr_kfield *child = &f->children[i];
        if (!hr_krange_has(child->versions, r->version) || kj_is_tagged(child, r->version, r->flexible))
            continue;
        if (child->is_array)
            sum += r->flexible ? 1 : 4;
        else if (child->type == HR_KT_STRUCT && hr_krange_has(child->nullable, r->version))
            sum += 1;
        else
            sum += least_size(r, child);
    }
    return sum + (r->flexible ? 1 : 0);
}

static int read_array(struct reader *r, const struct hr_kfield *f, json_t **ret)
{
    int64_t count = 0;
    int err = read_length(r, r->flexible, 4, "count", &count);
    if (err != 0)
        return err;
    if (count < 0) {
        err = check_null(r, f);
        return err != 0 ? err : give(r, json_null(), ret);
    }
    uint32_t least = least_size(r, f);
    if (count > left(r) / (least == 0 ? 1 : least))
        return kj_fail(&r->path, HR_E_TRUNCATED, "count %lld of at least %u bytes each, %u are left",
                       (long long)count, least, left(r));

    json_t *array = NULL;
    err = give(r, json_array(), &array);
    for (int64_t i = 0; err == 0 && i < count; i++) {
        json_t *value = NULL;
        kj_at_index(&r->path, i);
        err = read_one(r, f, true, &value);
        if (err == 0 && json_array_append_new(array, value) != 0)
            err = kj_fail(&r->path, HR_E_NOMEM, "no memory");
    }
    if (err != 0) {
        json_decref(array);
        return err;
    }
    *ret = array;
    return 0;
}

static int read_into(struct reader *r, const struct hr_kfield *f, json_t *object)
{
    json_t *value = NULL;
    int err = kj_push(&r->path, f->name);
    if (err == 0)
        err = f->is_array ? read_array(r, f, &value) : read_one(r, f, false, &value);
    if (err == 0 && json_object_set_new_nocheck(object, f->name, value) != 0)
        err = kj_fail(&r->path, HR_E_NOMEM, "no memory");
    if (err == 0)
        kj_pop(&r->path);
    return err;
}

static int keep_unknown_tag(struct reader *r, uint32_t tag, uint32_t size, json_t *object)
{
    json_t *tags = json_object_get(object, KJ_TAGS_KEY);
    char key[11];
    snprintf(key, sizeof(key), "%u", tag);
    if (tags == NULL) {
        tags = json_object();
        if (json_object_set_new_nocheck(object, KJ_TAGS_KEY, tags) != 0)
            return kj_fail(&r->path, HR_E_NOMEM, "no memory");
    }
    if (json_object_set_new_nocheck(tags, key, kj_hex_text(r->at, size)) != 0)
        return kj_fail(&r->path, HR_E_NOMEM, "no memory");
    r->at += size;
    return 0;
}

static int read_tags(struct reader *r, const struct hr_kfield *fields, uint16_t n_fields, json_t *object)
{
    uint32_t count = 0;
    int64_t last = -1;
    int err = read_varint(r, &count);
    if (err != 0)
        return err;
    for (uint32_t i = 0; i < count; i++) { /* each turn reads or fails, so the count needs no bound */
        uint32_t tag = 0, size = 0;
        if ((err = read_varint(r, &tag)) != 0 || (err = read_varint(r, &size)) != 0)
            return err;
        if (tag <= last)
            return kj_fail(&r->path, HR_E_INVALID, "tag %u after tag %lld", tag, (long long)last);
        last = tag;
        if (size > left(r))
            return short_of(r, size);

        const struct hr_kfield *known = NULL;
        for (uint16_t k = 0; k < n_fields && known == NULL; k++) {
            if (fields[k].tag == tag && hr_krange_has(fields[k].versions, r->version) &&
                hr_krange_has(fields[k].tagged, r->version))
                known = &fields[k];
        }
        if (known == NULL) {
            err = keep_unknown_tag(r, tag, size, object);
        } else {
            const uint8_t *outer = r->end;
            r->end = r->at + size; /* the field may use its own bytes only, and must use all */
            err = read_into(r, known, object);
            if (err == 0 && r->at != r->end)
                err = kj_fail(&r->path, HR_E_INVALID, "tag %u is longer than its value", tag);
            r->end = outer;
        }
        if (err != 0)
            return err;
    }
    return 0;
}

static int read_struct(struct reader *r, const struct hr_kfield *fields, uint16_t n_fields, json_t **ret)
{
    json_t *object = NULL;
    int err = give(r, json_object(), &object);
    if (err != 0)
        return err;
    for (uint16_t i = 0; err == 0 && i < n_fields; i++) {
        const struct hr_kfield *f = &fields[i];
        if (!hr_krange_has(f->versions, r->version))
            continue;
        if (!kj_is_tagged(f, r->version, r->flexible))
            err = read_into(r, f, object);
        else if (json_object_set_new_nocheck(object, f->name, kj_default(f, r->version)) != 0)
            err = kj_fail(&r->path, HR_E_NOMEM, "no memory");
    }
    if (err == 0 && r->flexible)
        err = read_tags(r, fields, n_fields, object);
    if (err != 0) {
        json_decref(object);
        return err;
    }
    *ret = object;
    return 0;
}

int hr_kjson_decode(const struct hr_kmessage *message, int16_t version, const uint8_t *buf, uint32_t len,
                    json_t **ret_obj, uint32_t *ret_used, char why[HR_KJSON_WHY_MAX])
{
    struct reader r = {.at = buf, .end = buf + len, .version = version, .path = {.why = why}};
    why[0] = '\0';
    if (!hr_krange_has(message->versions, version))
        return kj_fail(&r.path, HR_E_VERSION, "%s has no version %d here", message->name, version);
    r.flexible = hr_krange_has(message->flexible, version);
    int err = read_struct(&r, message->fields, message->n_fields, ret_obj);
    if (err == 0)
        *ret_used = (uint32_t)(r.at - buf);
    return err;
}
