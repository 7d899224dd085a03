/* The PROXY protocol: what a header says, and what a listener makes of connections that bring one, or do not. */
#include "dataplane/proxy/origin.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/proxy/impl.h"
#include "tests/support/proxy_rig.h"

/* ---- headers ----------------------------------------------------------------------------------------- */

#define START "\r\n\r\n\0\r\nQUIT\n"
/* 192.0.2.7:51234 to 10.0.0.5:9092, with nothing behind it. */
#define TCP4(len) START "\x21\x11" len "\xc0\x00\x02\x07\x0a\x00\x00\x05\xc8\x22\x23\x84"
static const char plain4[] = TCP4("\x00\x0c");
/* With AWS's endpoint and the checksum. */
static const char aws4[] = TCP4("\x00\x2d") "\xea\x00\x17\x01vpce-08d2bf15fac5001c9\x03\x00\x04\x88\x9d\xd0\xf0";
static const char tcp6[] = START "\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
                                 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05\xc8\x22\x23\x84";
static const char local[] = START "\x20\x00\x00\x00";
#define LEN(text) ((uint32_t)sizeof(text) - 1)

/* Reads it from memory that ends where it does; every part of it is not enough. */
static int read_header(const void *data, uint32_t len, struct hr_origin *ret_origin)
{
    uint32_t header_len = 0;
    uint8_t *exact = malloc(len);
    memcpy(exact, data, len);
    int err = hr_origin_read(exact, len, &header_len, ret_origin);
    if (err == 0) {
        assert_int_equal(header_len, len);
        for (uint32_t i = 0; i < len; i++)
            assert_int_equal(hr_origin_read(exact, i, &header_len, ret_origin), HR_E_AGAIN);
        assert_int_equal(hr_origin_read(exact, len, &header_len, ret_origin), 0);
    }
    free(exact);
    return err;
}

static void is_from(const struct hr_origin *origin, const char *addr, uint16_t port)
{
    char text[HR_ADDR_STR_MAX];
    assert_string_equal(hr_addr_format(&origin->addr, text), addr);
    assert_int_equal(origin->port, port);
}

static void test_headers(void **state)
{
    struct hr_origin origin;
    assert_int_equal(read_header(plain4, LEN(plain4), &origin), 0);
    is_from(&origin, "192.0.2.7", 51234);
    assert_string_equal(origin.vpc_endpoint, "");
    assert_int_equal(read_header(aws4, LEN(aws4), &origin), 0);
    is_from(&origin, "192.0.2.7", 51234);
    assert_string_equal(origin.vpc_endpoint, "vpce-08d2bf15fac5001c9");
    assert_int_equal(read_header(tcp6, LEN(tcp6), &origin), 0);
    is_from(&origin, "2001:db8::7", 51234);
    /* The load balancer's own, or of no kind that has an address: whatever stands behind it. */
    assert_int_equal(read_header(local, LEN(local), &origin), 0);
    assert_true(hr_addr_is_any(&origin.addr));
    static const char local_more[] = START "\x20\x31\x00\x02??";
    assert_int_equal(read_header(local_more, LEN(local_more), &origin), 0);
    assert_true(hr_addr_is_any(&origin.addr));
    static const char unknown[] = START "\x21\x00\x00\x04\x04\x00\x01 ";
    assert_int_equal(read_header(unknown, LEN(unknown), &origin), 0);
    assert_true(hr_addr_is_any(&origin.addr));
    /* What follows is not looked at. */
    uint32_t len = 0;
    assert_int_equal(hr_origin_read((const uint8_t *)plain4, LEN(plain4), &len, &origin), 0);
    /* Records that are not ours to show are skipped: other subtypes, and ids that are none. */
    static const char other[] = TCP4("\x00\x1b") "\xea\x00\x03\x02xx\x04\x00\x00\xea\x00\x03\x01\x1b[";
    assert_int_equal(read_header(other, LEN(other), &origin), 0);
    assert_string_equal(origin.vpc_endpoint, "");
}

static void test_headers_that_are_wrong(void **state)
{
    struct hr_origin origin = {.port = 9};
    uint8_t data[2048];
    uint32_t len;
    /* Each byte of it counts, but for the type of the checksum: without one nothing is checked. */
    for (uint32_t i = 0; i < LEN(aws4); i++) {
        if (i == LEN(aws4) - 7)
            continue;
        memcpy(data, aws4, LEN(aws4));
        data[i] ^= 0x40;
        int err = hr_origin_read(data, LEN(aws4), &len, &origin);
        if (err != HR_E_INVALID && err != HR_E_TOO_LARGE && !(i == 15 && err == HR_E_AGAIN))
            fail_msg("byte %u: %s", i, hr_strerror(err));
    }
    assert_int_equal(origin.port, 9); /* untouched */
    static const struct {
        const char *p;
        uint32_t len;
    } wrong[] = {
        {"\0\0\0\x1f", 4},                             /* a Kafka client that knows nothing of it */
        {"\x16\x03\x01", 3},                           /* TLS */
        {"PROXY TCP4 192.0.2.7", 20},                  /* version 1 */
        {START "\x11\x11\x00\x0c", 16},                /* version 1 in version 2's clothes */
        {START "\x22\x11\x00\x0c", 16},                /* an unknown command */
        {TCP4("\x00\x0b"), 27},                        /* too short for its addresses */
        {START "\x21\x12\x00\x0c\1\2\3\4\1\2\3\4\1\2\1\2", 28}, /* UDP */
        {START "\x21\x31\x00\x00", 16},                /* a local socket */
        {START "\x21\x11\x00\x0c\0\0\0\0\1\2\3\4\1\2\1\2", 28}, /* from nobody */
        {START "\x21\x11\x00\x0c\xe0\0\0\1\1\2\3\4\1\2\1\2", 28}, /* from a group */
        {TCP4("\x00\x0e") "\x04\x00", 30},             /* half a record */
        {TCP4("\x00\x0f") "\x04\x00\x01", 31},         /* a record that goes on behind the end */
        {TCP4("\x00\x12") "\x03\x00\x03\0\0\0", 34},   /* a checksum of three bytes */
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (read_header(wrong[i].p, wrong[i].len, &origin) != HR_E_INVALID)
            fail_msg("number %zu", i);
    }
    memcpy(data, START "\x20\x00\x02\x08", 16);
    memset(data + 16, 0, 520);
    assert_int_equal(hr_origin_read(data, 536, &len, &origin), 0);
    assert_int_equal(len, HR_ORIGIN_HEADER_MAX);
    data[15]++;
    assert_int_equal(hr_origin_read(data, 16, &len, &origin), HR_E_TOO_LARGE);
}

/* ---- connections --------------------------------------------------------------------------------------- */

static struct pr r;

static int setup(void **state)
{
    pr_open(&r, NULL);
    struct hr_policy *policy = pr_next_policy(&r);
    for (uint32_t i = 0; i < policy->n_listeners; i++) {
        policy->listeners[i].n_trusted = 1;
        policy->listeners[i].trusted[0].net = hr_addr_from_v4(htonl(PR_CLIENT_IP & 0xffffff00));
        policy->listeners[i].trusted[0].bits = 96 + 24;
    }
    pr_adopt(&r);
    return 0;
}

static int teardown(void **state)
{
    pr_close(&r);
    return 0;
}

static void finish(void)
{
    const char *wrong = pr_close(&r);
    if (wrong)
        fail_msg("%s", wrong);
}

static struct hr_session_info only(void)
{
    struct hr_session_info info;
    uint32_t next;
    assert_int_equal(hr_proxy_list(r.proxy, 0, &info, 1, &next), 1);
    return info;
}

static void is_client(const struct hr_session_info *info, const char *addr, uint16_t port)
{
    char text[HR_ADDR_STR_MAX];
    assert_string_equal(hr_addr_format(&info->client, text), addr);
    assert_int_equal(info->client_port, port);
}

/* In whatever pieces the header comes, the target gets what is behind it and nothing else. */
static void test_header_in_pieces(void **state)
{
    for (uint32_t piece = 1; piece <= LEN(aws4); piece += 13) {
        uint32_t before = pr_n_accepted(&r);
        struct pr_peer *lb = pr_connect(&r, 5201);
        pr_run(&r, 10 * PR_MS);
        assert_true(lb->connected);
        for (uint32_t at = 0; at < LEN(aws4); at += piece) {
            assert_int_equal(pr_n_accepted(&r), before); /* not before it is known for whom */
            assert_int_equal(hr_proxy_sessions(r.proxy), 0);
            pr_send(&r, lb, aws4 + at, LEN(aws4) - at < piece ? LEN(aws4) - at : piece);
            if (at + piece >= LEN(aws4))
                pr_send(&r, lb, "hello", 5);
            pr_run(&r, 10 * PR_MS);
        }
        struct hr_session_info info = only();
        is_client(&info, "192.0.2.7", 51234);
        assert_int_equal(hr_addr_v4_be(&info.via), htonl(PR_CLIENT_IP));
        assert_int_equal(info.via_port, lb->flow.local_port);
        assert_string_equal(info.vpc_endpoint, "vpce-08d2bf15fac5001c9");
        struct pr_peer *target = pr_accepted_at(&r, PR_TARGET_IP);
        assert_int_equal(target->got.len, 5);
        assert_memory_equal(target->got.p, "hello", 5);
        pr_send(&r, target, "there", 5);
        pr_run(&r, 10 * PR_MS);
        assert_memory_equal(lb->got.p, "there", 5);
        pr_shutdown(&r, lb);
        pr_shutdown(&r, target);
        pr_run(&r, 50 * PR_MS);
        rf_free(&lb->got);
        rf_free(&target->got);
    }
    assert_true(PR_COUNT(&r, origins_told) > 3);
    finish();
}

/* Requests behind it are the session's; limits and logs know the client by its own address. */
static void test_kafka_behind_it(void **state)
{
    struct rf_bytes b = {0};
    struct hr_policy *policy = pr_next_policy(&r);
    policy->listeners[0].idle_timeout_ms = 1000;
    pr_adopt(&r);
    struct pr_peer *lb = pr_connect(&r, 9203);
    rf_append(&b, tcp6, LEN(tcp6));
    rf_request(&b, 12, 3, 1, "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}");
    pr_send(&r, lb, b.p, b.len);
    pr_run(&r, 50 * PR_MS);
    struct hr_session_info info = only();
    is_client(&info, "2001:db8::7", 51234);
    assert_int_equal(info.requests, 1);
    assert_int_equal(pr_accepted_at(&r, PR_BROKER_IP(1))->got.len, b.len - LEN(tcp6));
    pr_run(&r, 2 * PR_S);
    assert_int_equal(PR_DROPS(&r, idle_timeout), 1);
    const struct hr_msg *log = &r.last_log[HR_LOGEV_SESSION_CLOSED];
    assert_memory_equal(&log->u.log.addr, &info.client, sizeof(info.client));
    assert_int_equal(log->u.log.port, 51234);
    rf_free(&b);
    finish();
}

/* A second session in the same place is nobody's but its own. */
static void test_local_is_its_sender(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct pr_peer *lb = pr_connect(&r, 5201);
        pr_send(&r, lb, i == 0 ? plain4 : local, i == 0 ? LEN(plain4) : LEN(local));
        pr_run(&r, 50 * PR_MS);
        struct hr_session_info info = only();
        is_client(&info, i == 0 ? "192.0.2.7" : "10.0.0.100", i == 0 ? 51234 : lb->flow.local_port);
        assert_int_equal(hr_addr_is_any(&info.via), i == 1);
        assert_int_equal(hr_proxy_kill(r.proxy, info.id), 0);
        pr_run(&r, 50 * PR_MS);
    }
    finish();
}

/* Nobody has said yet whose they are; a drain is over without them. */
static void test_drain_ends_those_who_wait(void **state)
{
    struct pr_peer *waits = pr_connect(&r, 5201), *half = pr_connect(&r, 9092);
    pr_send(&r, half, plain4, 20);
    pr_run(&r, 50 * PR_MS);
    hr_proxy_drain(r.proxy, r.now_us + 60 * PR_S);
    pr_run(&r, 50 * PR_MS);
    assert_true(waits->failed && half->failed);
    assert_int_equal(PR_DROPS(&r, draining), 2);
    assert_int_equal(r.n_logs[HR_LOGEV_DRAIN_DONE], 1);
    finish();
}

/* A listener that is drained by a new policy takes nobody in who has come before it. */
static void test_drained_listener(void **state)
{
    struct pr_peer *p = pr_connect(&r, 9092);
    pr_run(&r, 50 * PR_MS);
    pr_next_policy(&r)->listeners[0].draining = 1;
    pr_adopt(&r);
    pr_send(&r, p, plain4, LEN(plain4));
    pr_run(&r, 50 * PR_MS);
    assert_true(p->failed);
    assert_int_equal(PR_DROPS(&r, draining), 1);
    assert_int_equal(PR_COUNT(&r, sessions_opened), 0);
    finish();
}

static void test_refused(void **state)
{
    static const char kafka[] = "\0\0\0\x1f\0\x12\0\0";
    struct pr_peer *p;

    /* No header. */
    p = pr_connect(&r, 9092);
    pr_send(&r, p, kafka, sizeof(kafka));
    pr_run(&r, 50 * PR_MS);
    assert_true(p->failed);
    assert_int_equal(PR_DROPS(&r, origin_bad), 1);
    assert_int_equal(r.n_logs[HR_LOGEV_ORIGIN_BAD], 1);
    assert_int_equal(r.last_log[HR_LOGEV_ORIGIN_BAD].u.log.port, p->flow.local_port);
    /* Half of one, and the end. */
    p = pr_connect(&r, 9092);
    pr_send(&r, p, plain4, 20);
    pr_shutdown(&r, p);
    pr_run(&r, 50 * PR_MS);
    assert_int_equal(PR_DROPS(&r, origin_bad), 2);
    /* Nothing at all: it looked whether somebody listens. */
    p = pr_connect(&r, 9092);
    pr_run(&r, 50 * PR_MS);
    pr_shutdown(&r, p);
    pr_run(&r, 50 * PR_MS);
    p = pr_connect(&r, 9092);
    pr_run(&r, 50 * PR_MS);
    pr_reset(&r, p);
    pr_run(&r, 50 * PR_MS);
    assert_int_equal(PR_DROPS(&r, origin_bad), 2);
    /* Slowly: from the connection on, whatever has come. */
    p = pr_connect(&r, 9092);
    for (uint32_t i = 0; i < 4; i++) {
        pr_send(&r, p, plain4 + i, 1);
        pr_run(&r, PR_S);
        assert_false(p->failed);
    }
    pr_send(&r, p, plain4 + 4, 1);
    pr_run(&r, 2 * PR_S);
    assert_true(p->failed);
    assert_int_equal(PR_DROPS(&r, origin_timeout), 1);
    assert_int_equal(r.n_logs[HR_LOGEV_ORIGIN_BAD], 3);
    assert_int_equal(pr_n_accepted(&r), 0);
    assert_int_equal(PR_COUNT(&r, sessions_opened), 0);
    /* A network that is not trusted. */
    struct hr_policy *policy = pr_next_policy(&r);
    policy->listeners[0].trusted[0].net = hr_addr_from_v4(htonl(0x0a000000));
    policy->listeners[0].trusted[0].bits = 96 + 26;
    pr_adopt(&r);
    p = pr_connect(&r, 9092);
    pr_run(&r, 50 * PR_MS);
    assert_false(p->connected);
    assert_true(PR_DROPS(&r, origin_untrusted) >= 1);
    finish();
}

/* More than may wait; what waits is reset with everything else. */
static void test_bounded(void **state)
{
    struct pr_peer *peers[100];
    for (int i = 0; i < 100; i++) {
        peers[i] = pr_connect(&r, 5201);
        pr_run(&r, 5 * PR_MS);
    }
    assert_int_equal(PR_COUNT(&r, sessions_opened), 0);
    /* The limit of sessions is for those whose client is known. */
    for (int i = 0; i < PR_SESSIONS + 2; i++)
        pr_send(&r, peers[i], plain4, LEN(plain4));
    pr_run(&r, 50 * PR_MS);
    assert_int_equal(PR_DROPS(&r, session_limit), 2);
    assert_int_equal(hr_proxy_sessions(r.proxy), PR_SESSIONS);
    hr_proxy_end_all(r.proxy);
    pr_run(&r, 50 * PR_MS);
    for (int i = 0; i < 100; i++)
        assert_true(peers[i]->failed);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_headers_that_are_wrong),
        cmocka_unit_test_setup_teardown(test_header_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kafka_behind_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_local_is_its_sender, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain_ends_those_who_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drained_listener, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
