#include "controlplane/metadata/kclient.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/login.h"
#include "controlplane/conn/stream.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/kafka/json.h"
#include "shared/kafka/schema.h"

#define UNSUPPORTED_VERSION 35
#define REQUEST_MAX         (64 * 1024)
#define CLIENT_ID           "headrace"
#define FIRST_CAP           4096

struct hr_kclient {
    struct hr_loop *loop;
    struct hr_stream *stream;
    const struct hr_kclient_ops *ops;
    void *owner;
    struct hr_timer timeout;
    struct hr_login *login; /* until it has ended */
    uint32_t login_timeout_ms;
    uint64_t lifetime_ms;
    uint32_t max_frame_bytes;
    int32_t correlation_id;
    int16_t api_key, version;
    bool waiting;
    bool ended;       /* failed() was called */
    bool in_callback; /* close() must leave the struct to the caller up the stack */
    bool closed;
    uint8_t size_bytes[4]; /* the frame's size field, as it comes in */
    uint32_t n_size;
    uint8_t *frame; /* what has arrived behind it */
    uint32_t n_frame, cap;
};

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void destroy(struct hr_kclient *client)
{
    hr_timer_cancel(client->loop, &client->timeout);
    hr_stream_release(client->stream);
    hr_login_destroy(client->login);
    free(client->frame);
    free(client);
}

void hr_kclient_close(struct hr_kclient *client)
{
    if (!client)
        return;
    client->closed = true;
    if (!client->in_callback)
        destroy(client);
}

/* Ends a callback section: true when the owner closed the client meanwhile, which is then freed. */
static bool leave(struct hr_kclient *client)
{
    client->in_callback = false;
    if (!client->closed)
        return false;
    destroy(client);
    return true;
}

static void fail(struct hr_kclient *client, int err, const char *why)
{
    if (client->ended || client->closed)
        return;
    client->ended = true;
    client->waiting = false;
    hr_timer_cancel(client->loop, &client->timeout);
    client->in_callback = true;
    client->ops->failed(client->owner, err, why);
    leave(client);
}

/* False: the client is gone. */
static bool connected(struct hr_kclient *client)
{
    client->in_callback = true;
    client->ops->connected(client->owner);
    return !leave(client);
}

/* False: the client has failed. */
static bool send_login(struct hr_kclient *client)
{
    size_t len;
    const uint8_t *out = hr_login_output(client->login, &len);
    int err = out ? hr_stream_send(client->stream, out, (uint32_t)len) : 0;

    if (out)
        hr_login_sent(client->login);
    if (err)
        fail(client, err, "the login cannot be sent");
    return err == 0;
}

static void on_opened(void *owner)
{
    struct hr_kclient *client = owner;

    if (!client->login) {
        connected(client);
        return;
    }
    client->in_callback = true;
    client->ops->opened(client->owner);
    if (leave(client))
        return;
    hr_timer_in(client->loop, &client->timeout, client->login_timeout_ms * HR_US_PER_MS);
    send_login(client);
}

/* The broker's part of the login; how many bytes were its. What stands behind it nobody has asked for: the next frame
 * says so. */
static size_t take_login(struct hr_kclient *client, const uint8_t *data, uint32_t len)
{
    size_t used;

    switch (hr_login_feed(client->login, data, len, &used)) {
    case HR_LOGIN_MORE:
        send_login(client);
        break;
    case HR_LOGIN_DONE:
        client->lifetime_ms = hr_login_lifetime_ms(client->login);
        hr_login_destroy(client->login);
        client->login = NULL;
        hr_timer_cancel(client->loop, &client->timeout);
        if (!connected(client))
            return len; /* nothing may be touched any more */
        break;
    case HR_LOGIN_REFUSED:
        fail(client, HR_E_REFUSED, hr_login_why(client->login));
        return len;
    case HR_LOGIN_BROKEN:
        fail(client, HR_E_INVALID, hr_login_why(client->login));
        return len;
    }
    return used;
}

static void on_eof(void *owner)
{
    fail(owner, HR_E_CLOSED, "the broker closed the connection");
}

static void on_closed(void *owner, int err, const char *why)
{
    fail(owner, err, why);
}

static void on_timeout(struct hr_timer *timer)
{
    fail(timer->arg, HR_E_TIMEOUT, "the broker did not answer in time");
}

int hr_kclient_parse(const uint8_t *frame, uint32_t len, int16_t api_key, int16_t version,
                     int32_t correlation_id, json_t **ret_body, int16_t *ret_version,
                     char why[HR_KCLIENT_WHY_MAX])
{
    const struct hr_kmessage *message = hr_kresponse_find(api_key, version);
    json_t *header = NULL, *body = NULL;
    uint32_t used = 0, body_used = 0;
    char inner[HR_KJSON_WHY_MAX] = "";
    int err;

    if (!message) {
        snprintf(why, HR_KCLIENT_WHY_MAX, "no schema for API %d version %d", api_key, version);
        return HR_E_UNSUPPORTED;
    }
    err = hr_kjson_decode(&hr_kresponse_header, hr_kresponse_header_version(api_key, version), frame, len,
                          &header, &used, inner);
    if (err) {
        snprintf(why, HR_KCLIENT_WHY_MAX, "response header: %s", inner);
        return err;
    }
    if (json_integer_value(json_object_get(header, "CorrelationId")) != correlation_id) {
        json_decref(header);
        snprintf(why, HR_KCLIENT_WHY_MAX, "response to another request");
        return HR_E_INVALID;
    }
    json_decref(header);
    if (api_key == HR_KAPI_API_VERSIONS && version > 0 && len - used >= 2 &&
        (frame[used] << 8 | frame[used + 1]) == UNSUPPORTED_VERSION) {
        version = 0;
        message = hr_kresponse_find(api_key, version);
        if (!message)
            return HR_E_UNSUPPORTED;
    }
    err = hr_kjson_decode(message, version, frame + used, len - used, &body, &body_used, inner);
    if (err) {
        snprintf(why, HR_KCLIENT_WHY_MAX, "%s version %d: %s", message->name, version, inner);
        return err;
    }
    if (used + body_used != len) {
        json_decref(body);
        snprintf(why, HR_KCLIENT_WHY_MAX, "%s version %d: %u bytes behind its end", message->name, version,
                 len - used - body_used);
        return HR_E_INVALID;
    }
    *ret_body = body;
    *ret_version = version;
    return 0;
}

/* A whole frame is there. False: the client is gone or has failed. */
static bool take_frame(struct hr_kclient *client)
{
    char why[HR_KCLIENT_WHY_MAX];
    json_t *body;
    int16_t version;
    int err;

    if (!client->waiting) {
        fail(client, HR_E_INVALID, "a response that nothing asked for");
        return false;
    }
    err = hr_kclient_parse(client->frame, client->n_frame, client->api_key, client->version,
                           client->correlation_id, &body, &version, why);
    /* A large answer's buffer is not kept for the next small one. */
    free(client->frame);
    client->frame = NULL;
    client->n_frame = client->cap = client->n_size = 0;
    if (err) {
        fail(client, err, why);
        return false;
    }
    client->waiting = false;
    hr_timer_cancel(client->loop, &client->timeout);
    client->in_callback = true;
    client->ops->answered(client->owner, client->api_key, version, body);
    json_decref(body);
    return !leave(client);
}

/* False: the client has failed, and may be gone. */
static bool size_ok(struct hr_kclient *client)
{
    uint32_t size = be32(client->size_bytes);
    char why[96];

    if (size >= 4 && size <= client->max_frame_bytes)
        return true;
    snprintf(why, sizeof(why), "response size %d is not within 4..%u", (int32_t)size,
             client->max_frame_bytes);
    fail(client, HR_E_TOO_LARGE, why);
    return false;
}

static void on_data(void *owner, const uint8_t *data, uint32_t len)
{
    struct hr_kclient *client = owner;

    while (len > 0 && client->login && !client->ended) {
        size_t used = take_login(client, data, len);

        if (used == len)
            return;
        data += used;
        len -= (uint32_t)used;
    }
    while (len > 0 && !client->ended) {
        uint32_t size, n;

        if (client->n_size < 4) {
            client->size_bytes[client->n_size++] = *data++;
            len--;
            if (client->n_size == 4 && !size_ok(client))
                return;
            continue;
        }
        size = be32(client->size_bytes);
        n = size - client->n_frame < len ? size - client->n_frame : len;
        if (client->n_frame + n > client->cap) {
            uint32_t cap = client->cap ? client->cap : FIRST_CAP;
            uint8_t *frame;

            while (cap < client->n_frame + n)
                cap *= 2;
            frame = realloc(client->frame, cap);
            if (!frame) {
                fail(client, HR_E_NOMEM, "no memory for the response");
                return;
            }
            client->frame = frame;
            client->cap = cap;
        }
        memcpy(client->frame + client->n_frame, data, n);
        client->n_frame += n;
        data += n;
        len -= n;
        if (client->n_frame == size && !take_frame(client))
            return;
    }
}

static const struct hr_conn_ops stream_ops = {
    .opened = on_opened, .data = on_data, .eof = on_eof, .closed = on_closed};

int hr_kclient_open(struct hr_loop *loop, struct hr_conns *conns, struct hr_tls_store *tls, const char *host,
                    const struct hr_addr *addr, uint16_t port, uint32_t connect_timeout_ms,
                    uint32_t max_frame_bytes, struct hr_login *login, uint32_t login_timeout_ms,
                    const struct hr_kclient_ops *ops, void *owner,
                    struct hr_kclient **ret_client)
{
    struct hr_kclient *client = calloc(1, sizeof(*client));
    int err;

    if (!client) {
        hr_login_destroy(login);
        return HR_E_NOMEM;
    }
    client->login = login;
    client->login_timeout_ms = login_timeout_ms;
    client->loop = loop;
    client->ops = ops;
    client->owner = owner;
    client->max_frame_bytes = max_frame_bytes;
    client->timeout = (struct hr_timer){.fn = on_timeout, .arg = client};
    err = hr_stream_open(loop, conns, tls, host, addr, port, connect_timeout_ms, &stream_ops, client,
                         &client->stream);
    if (err) {
        hr_login_destroy(login);
        free(client);
        return err;
    }
    *ret_client = client;
    return 0;
}

uint64_t hr_kclient_lifetime_ms(const struct hr_kclient *client)
{
    return client->lifetime_ms;
}

int hr_kclient_request(struct hr_kclient *client, int16_t api_key, int16_t version, const json_t *body,
                       uint32_t timeout_ms)
{
    const struct hr_kmessage *message = hr_krequest_find(api_key, version);
    char why[HR_KJSON_WHY_MAX];
    uint8_t *buf;
    uint32_t n_header, n_body;
    json_t *header;
    int err;

    if (client->ended)
        return HR_E_CLOSED;
    if (client->waiting || client->login)
        return HR_E_BUSY;
    if (!message || !hr_kresponse_find(api_key, version))
        return HR_E_UNSUPPORTED;
    header = json_pack("{s:i, s:i, s:i, s:s}", "RequestApiKey", api_key, "RequestApiVersion", version,
                       "CorrelationId", ++client->correlation_id, "ClientId", CLIENT_ID);
    buf = malloc(REQUEST_MAX);
    if (!header || !buf) {
        err = HR_E_NOMEM;
        goto out;
    }
    err = hr_kjson_encode(&hr_krequest_header, hr_krequest_header_version(api_key, version), header, buf + 4,
                          REQUEST_MAX - 4, &n_header, why);
    if (err)
        goto out;
    err =
        hr_kjson_encode(message, version, body, buf + 4 + n_header, REQUEST_MAX - 4 - n_header, &n_body, why);
    if (err)
        goto out;
    buf[0] = (uint8_t)((n_header + n_body) >> 24);
    buf[1] = (uint8_t)((n_header + n_body) >> 16);
    buf[2] = (uint8_t)((n_header + n_body) >> 8);
    buf[3] = (uint8_t)(n_header + n_body);
    err = hr_stream_send(client->stream, buf, 4 + n_header + n_body);
    if (err)
        goto out;
    client->api_key = api_key;
    client->version = version;
    client->waiting = true;
    hr_timer_in(client->loop, &client->timeout, timeout_ms * HR_US_PER_MS);
out:
    json_decref(header);
    free(buf);
    return err;
}
