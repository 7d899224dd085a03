/* What a peer says besides data, and what we say to it: key updates, tickets, renegotiation, alerts, limits. */
#include "dataplane/tls/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/record_fixture.h"

enum { ALERT = 21, HANDSHAKE = 22, DATA = 23 };
enum { HELLO_REQUEST = 0, CLIENT_HELLO = 1, NEW_SESSION_TICKET = 4, CERTIFICATE_REQUEST = 13, KEY_UPDATE = 24 };

static struct rx x;
static uint8_t wire[TP_RECORD_MAX], got[8 * TP_RECORD_MAX], content[16384];

static int setup(void **state)
{
    (void)state;
    rx_init(&x, 1u << 24);
    memset(content, 'x', sizeof(content));
    return 0;
}

static int setup_low_limit(void **state)
{
    (void)state;
    rx_init(&x, 2);
    memset(content, 'x', sizeof(content));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return rx_fini(&x) ? 0 : -1;
}

static void leg_of(uint8_t version, uint8_t role)
{
    struct hr_tls_secrets s = tp_secrets(version, HR_TLS_AES_128_GCM_SHA256, role, 7);
    rx_leg(&x, &s);
}

static void peer_sends(uint8_t type, const uint8_t *p, uint32_t len)
{
    uint32_t n = tp_seal(&x.peer_write, type, p, len, 0, wire);
    rx_feed(&x, wire, n, 1448, RX_MERGED);
}

static struct hr_rec_opened opened(void)
{
    struct hr_rec_opened o;
    hr_rec_open(x.rec, x.leg, &x.in, UINT32_MAX, &o);
    return o;
}

static void ends_with(enum hr_drop verdict, enum hr_rec_alert alert)
{
    assert_int_equal(opened().verdict, verdict);
    assert_int_equal(hr_rec_alert_due(x.leg), alert);
}

/* The next record that we have sealed. */
static uint8_t peer_reads(uint8_t *ret, uint32_t *ret_len)
{
    uint8_t type, record[TP_RECORD_MAX];
    uint32_t n = x.out.bytes < sizeof(record) ? x.out.bytes : (uint32_t)sizeof(record);
    hr_pieceq_peek(&x.out, 0, record, n);
    int r = tp_open(&x.peer_read, record, n, &type, ret, ret_len);
    assert_true(r > 0);
    hr_pieceq_drop(&x.bufs, &x.out, (uint32_t)r);
    return type;
}

static void seal(uint32_t len)
{
    bool again;
    if (len > 0)
        rx_push_plain(&x, content, len, 1448, RX_MERGED);
    hr_rec_seal(x.rec, x.leg, &x.out, &again);
    assert_false(again);
}

static void expect_data(uint32_t len)
{
    uint32_t n;
    assert_int_equal(peer_reads(got, &n), DATA);
    assert_int_equal(n, len);
}

static void expect_update(uint8_t request)
{
    const uint8_t update[] = {KEY_UPDATE, 0, 0, 1, request};
    uint32_t n;
    assert_int_equal(peer_reads(got, &n), HANDSHAKE);
    assert_int_equal(n, sizeof(update));
    assert_memory_equal(got, update, sizeof(update));
    tp_update(&x.peer_read);
}

static void peer_updates(uint8_t request)
{
    const uint8_t update[] = {KEY_UPDATE, 0, 0, 1, request};
    peer_sends(HANDSHAKE, update, sizeof(update));
    tp_update(&x.peer_write);
}

/* RFC 8446 4.6.3: keys change in either direction at their own time; many requests have one answer. */
static void test_key_updates(void **state)
{
    struct hr_rec_info info;
    (void)state;
    leg_of(HR_TLS_1_3, HR_TLS_SERVER);
    for (int i = 0; i < 5; i++)
        peer_updates(1);
    peer_updates(0);
    peer_sends(DATA, content, 10);
    struct hr_rec_opened o = opened();
    assert_int_equal(o.verdict, HR_DROP_MAX);
    assert_true(o.reply);
    assert_int_equal(hr_rec_plain(x.leg)->bytes, 10);
    seal(100);
    expect_update(0);
    expect_data(100);
    assert_int_equal(x.out.bytes, 0);
    assert_false(opened().reply);
    hr_rec_leg_get_info(x.leg, &info);
    assert_int_equal(info.read_generation, 6);
    assert_int_equal(info.write_generation, 1);
    assert_int_equal(info.read_seq, 1);
    assert_int_equal(info.write_seq, 1);
    assert_int_equal(x.stats.counters[HR_CTR_tls_key_updates_rx], 6);
    assert_int_equal(x.stats.counters[HR_CTR_tls_key_updates_tx], 1);

    /* The answer goes even where no data does. */
    peer_updates(1);
    assert_true(opened().reply);
    seal(0);
    expect_update(0);
}

static void test_key_update_storm(void **state)
{
    (void)state;
    leg_of(HR_TLS_1_3, HR_TLS_SERVER);
    for (int i = 0; i < HR_REC_BARREN_MAX + 1; i++)
        peer_updates(1);
    ends_with(HR_DROP_tls_barren, HR_REC_ALERT_unexpected_message);
}

static void test_key_update_malformed(void **state)
{
    static const struct {
        uint8_t message[8];
        uint32_t len;
        enum hr_drop verdict;
        enum hr_rec_alert alert;
    } cases[] = {
        {{KEY_UPDATE, 0, 0, 1, 2}, 5, HR_DROP_tls_malformed, HR_REC_ALERT_illegal_parameter},
        {{KEY_UPDATE, 0, 0, 0}, 4, HR_DROP_tls_malformed, HR_REC_ALERT_decode_error},
        {{KEY_UPDATE, 0, 0, 2, 0, 0}, 6, HR_DROP_tls_malformed, HR_REC_ALERT_decode_error},
        {{KEY_UPDATE, 0, 0, 1, 0, KEY_UPDATE}, 6, HR_DROP_tls_unexpected, HR_REC_ALERT_unexpected_message},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        leg_of(HR_TLS_1_3, HR_TLS_SERVER);
        peer_sends(HANDSHAKE, cases[i].message, cases[i].len);
        ends_with(cases[i].verdict, cases[i].alert);
        rx_leg_close(&x);
    }
}

/* A message cut over records, at every byte; nothing may come between its parts. */
static void test_messages_in_parts(void **state)
{
    static const uint8_t update[] = {KEY_UPDATE, 0, 0, 1, 1};
    (void)state;
    for (uint32_t at = 1; at < sizeof(update); at++) {
        leg_of(HR_TLS_1_3, HR_TLS_CLIENT);
        peer_sends(HANDSHAKE, update, at);
        peer_sends(HANDSHAKE, update + at, sizeof(update) - at);
        tp_update(&x.peer_write);
        peer_sends(DATA, content, 3);
        assert_int_equal(opened().verdict, HR_DROP_MAX);
        assert_int_equal(hr_rec_plain(x.leg)->bytes, 3);
        rx_leg_close(&x);

        leg_of(HR_TLS_1_3, HR_TLS_CLIENT);
        peer_sends(HANDSHAKE, update, at);
        peer_sends(DATA, content, 3);
        ends_with(HR_DROP_tls_unexpected, HR_REC_ALERT_unexpected_message);
        assert_int_equal(hr_rec_plain(x.leg)->bytes, 0);
        rx_leg_close(&x);
    }
    leg_of(HR_TLS_1_3, HR_TLS_CLIENT);
    peer_sends(HANDSHAKE, update, 0); /* RFC 8446 5.1: no empty fragments */
    ends_with(HR_DROP_tls_unexpected, HR_REC_ALERT_unexpected_message);
}

/* Of a broker's tickets nothing is kept, however long; a client has none to give. */
static void test_tickets(void **state)
{
    uint8_t ticket[1000] = {NEW_SESSION_TICKET, 0, 996 >> 8, 996 & 0xff};
    (void)state;
    leg_of(HR_TLS_1_3, HR_TLS_CLIENT);
    peer_sends(HANDSHAKE, ticket, sizeof(ticket));
    peer_sends(HANDSHAKE, ticket, 700);
    peer_sends(HANDSHAKE, ticket + 700, 300);
    peer_sends(DATA, content, 5);
    assert_int_equal(opened().verdict, HR_DROP_MAX);
    assert_int_equal(hr_rec_plain(x.leg)->bytes, 5);
    assert_int_equal(x.stats.counters[HR_CTR_tls_tickets_skipped], 2);
    rx_leg_close(&x);

    const uint8_t huge[] = {NEW_SESSION_TICKET, 0xff, 0xff, 0xff};
    leg_of(HR_TLS_1_3, HR_TLS_CLIENT);
    peer_sends(HANDSHAKE, huge, sizeof(huge));
    ends_with(HR_DROP_tls_malformed, HR_REC_ALERT_decode_error);
    rx_leg_close(&x);

    leg_of(HR_TLS_1_3, HR_TLS_SERVER);
    peer_sends(HANDSHAKE, ticket, sizeof(ticket));
    ends_with(HR_DROP_tls_unexpected, HR_REC_ALERT_unexpected_message);
}

static void test_no_authentication_after_the_handshake(void **state)
{
    static const uint8_t request[] = {CERTIFICATE_REQUEST, 0, 0, 3, 0, 0, 0};
    (void)state;
    for (uint8_t role = HR_TLS_SERVER; role <= HR_TLS_CLIENT; role++) {
        leg_of(HR_TLS_1_3, role);
        peer_sends(HANDSHAKE, request, sizeof(request));
        ends_with(HR_DROP_tls_unexpected, HR_REC_ALERT_unexpected_message);
        rx_leg_close(&x);
    }
}

/* TLS 1.2: a warning, and the connection goes on. */
static void test_no_renegotiation(void **state)
{
    static const uint8_t request[] = {HELLO_REQUEST, 0, 0, 0};
    uint8_t hello[204] = {CLIENT_HELLO, 0, 0, 200};
    uint32_t n;
    (void)state;
    for (uint8_t role = HR_TLS_SERVER; role <= HR_TLS_CLIENT; role++) {
        leg_of(HR_TLS_1_2, role);
        if (role == HR_TLS_SERVER)
            peer_sends(HANDSHAKE, hello, sizeof(hello));
        else
            peer_sends(HANDSHAKE, request, sizeof(request));
        peer_sends(DATA, content, 5);
        struct hr_rec_opened o = opened();
        assert_int_equal(o.verdict, HR_DROP_MAX);
        assert_true(o.reply);
        assert_int_equal(hr_rec_plain(x.leg)->bytes, 5);
        seal(20);
        assert_int_equal(peer_reads(got, &n), ALERT);
        assert_int_equal(n, 2);
        assert_int_equal(got[0], 1);
        assert_int_equal(got[1], 100);
        expect_data(20);
        for (int i = 0; i < HR_REC_BARREN_MAX + 1; i++)
            peer_sends(HANDSHAKE, role == HR_TLS_SERVER ? hello : request,
                       role == HR_TLS_SERVER ? sizeof(hello) : sizeof(request));
        ends_with(HR_DROP_tls_barren, HR_REC_ALERT_unexpected_message);
        rx_leg_close(&x);

        leg_of(HR_TLS_1_2, role); /* the other side's message */
        peer_sends(HANDSHAKE, role == HR_TLS_SERVER ? request : hello, 4);
        ends_with(HR_DROP_tls_unexpected, HR_REC_ALERT_unexpected_message);
        rx_leg_close(&x);
    }
}

static void test_alerts(void **state)
{
    static const uint8_t notify[] = {1, 0}, canceled[] = {1, 90}, fatal[] = {2, 40}, warning[] = {1, 41};
    (void)state;
    for (uint8_t version = HR_TLS_1_2; version <= HR_TLS_1_3; version++) {
        leg_of(version, HR_TLS_SERVER);
        peer_sends(ALERT, canceled, 2);
        peer_sends(DATA, content, 4);
        assert_int_equal(opened().verdict, HR_DROP_MAX);
        assert_false(hr_rec_ended(x.leg));
        peer_sends(ALERT, notify, 2);
        peer_sends(DATA, content, 4); /* ignored */
        rx_feed(&x, content, 100, 100, RX_MERGED);
        assert_int_equal(opened().verdict, HR_DROP_MAX);
        assert_true(hr_rec_ended(x.leg));
        assert_int_equal(hr_rec_plain(x.leg)->bytes, 4);
        assert_int_equal(x.in.bytes, 0);
        seal(30); /* our half goes on */
        expect_data(30);
        rx_leg_close(&x);

        leg_of(version, HR_TLS_SERVER);
        peer_sends(ALERT, fatal, 2);
        assert_int_equal(opened().verdict, HR_DROP_tls_peer_alert);
        rx_leg_close(&x);

        leg_of(version, HR_TLS_SERVER);
        peer_sends(ALERT, warning, 2); /* TLS 1.3 knows no warnings */
        assert_int_equal(opened().verdict, version == HR_TLS_1_3 ? HR_DROP_tls_peer_alert : HR_DROP_MAX);
        rx_leg_close(&x);

        for (uint32_t len = 0; len < 5; len++) {
            if (len == 2)
                continue;
            leg_of(version, HR_TLS_SERVER);
            peer_sends(ALERT, content, len);
            ends_with(HR_DROP_tls_malformed, HR_REC_ALERT_decode_error);
            rx_leg_close(&x);
        }
    }
}

static void test_last_word(void **state)
{
    uint32_t n;
    (void)state;
    leg_of(HR_TLS_1_3, HR_TLS_SERVER);
    seal(10);
    rx_push_plain(&x, content, 500, 500, RX_MERGED); /* not sealed: it is too late */
    assert_true(hr_rec_say_goodbye(x.rec, x.leg, HR_REC_ALERT_decode_error, &x.out) > 0);
    assert_int_equal(hr_rec_unsealed(x.leg)->bytes, 0);
    expect_data(10);
    assert_int_equal(peer_reads(got, &n), ALERT);
    assert_int_equal(got[0], 2);
    assert_int_equal(got[1], 50);
    assert_int_equal(x.out.bytes, 0);
}

/* RFC 8446 5.5 with a limit of two full-size records: both sides' keys change under load, nothing is lost. */
static void test_limit_in_tls_1_3(void **state)
{
    uint32_t data = 0, updates = 0, n;
    (void)state;
    leg_of(HR_TLS_1_3, HR_TLS_SERVER);
    for (int i = 0; i < 10; i++) {
        rx_push_plain(&x, content, 16384, 1448, RX_MERGED);
        seal(0);
    }
    while (x.out.bytes > 0) {
        uint8_t type = peer_reads(got, &n);
        if (type == HANDSHAKE) {
            assert_int_equal(got[4], 0);
            tp_update(&x.peer_read);
            updates++;
        } else {
            data += n;
        }
    }
    assert_int_equal(data, 10 * 16384);
    assert_in_range(updates, 4, 5);

    /* The peer's key is worn: it is asked once, until it answers. */
    for (int i = 0; i < 4; i++) {
        peer_sends(DATA, content, 16384);
        opened();
        hr_pieceq_clear(&x.bufs, hr_rec_plain(x.leg));
    }
    seal(0);
    seal(0);
    expect_update(1);
    assert_int_equal(x.out.bytes, 0);
    peer_updates(0);
    peer_sends(DATA, content, 16384);
    assert_false(opened().reply);
    peer_sends(DATA, content, 16384);
    peer_sends(DATA, content, 16384);
    assert_true(opened().reply);
    seal(0);
    expect_update(1);
}

/* TLS 1.2 cannot change its keys: the session is told to come to an end. */
static void test_limit_in_tls_1_2(void **state)
{
    (void)state;
    leg_of(HR_TLS_1_2, HR_TLS_SERVER);
    peer_sends(DATA, content, 16384);
    assert_int_equal(opened().verdict, HR_DROP_MAX);
    assert_false(hr_rec_worn_out(x.leg));
    peer_sends(DATA, content, 16384);
    assert_int_equal(opened().verdict, HR_DROP_MAX);
    assert_true(hr_rec_worn_out(x.leg));
    rx_leg_close(&x);

    leg_of(HR_TLS_1_2, HR_TLS_SERVER);
    seal(16384);
    assert_false(hr_rec_worn_out(x.leg));
    seal(16384);
    assert_true(hr_rec_worn_out(x.leg));
}

/* Numbers never wrap: no nonce is used twice. */
static void test_sequence_numbers_near_their_end(void **state)
{
    (void)state;
    for (uint8_t version = HR_TLS_1_2; version <= HR_TLS_1_3; version++) {
        struct hr_tls_secrets s = tp_secrets(version, HR_TLS_AES_128_GCM_SHA256, HR_TLS_SERVER, 7);
        s.read.seq = s.write.seq = UINT64_MAX - 1;
        rx_leg(&x, &s);
        peer_sends(DATA, content, 5);
        assert_int_equal(opened().verdict, HR_DROP_MAX);
        peer_sends(DATA, content, 5);
        assert_int_equal(opened().verdict, HR_DROP_tls_key_limit);
        seal(10);
        if (version == HR_TLS_1_3) {
            expect_update(1); /* and asks: the peer's key is as old */
            expect_data(10);
        } else {
            assert_true(hr_rec_worn_out(x.leg));
        }
        rx_leg_close(&x);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define T_LOW(f) cmocka_unit_test_setup_teardown(f, setup_low_limit, teardown)
    const struct CMUnitTest tests[] = {
        T(test_key_updates),
        T(test_key_update_storm),
        T(test_key_update_malformed),
        T(test_messages_in_parts),
        T(test_tickets),
        T(test_no_authentication_after_the_handshake),
        T(test_no_renegotiation),
        T(test_alerts),
        T(test_last_word),
        T_LOW(test_limit_in_tls_1_3),
        T_LOW(test_limit_in_tls_1_2),
        T(test_sequence_numbers_near_their_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
