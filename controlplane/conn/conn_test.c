#include "controlplane/conn/conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/conn/mock_dataplane.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"

static uint64_t fake_now = 1000000;

static uint64_t fake_clock(void)
{
    return fake_now;
}

struct fixture {
    struct mock_dataplane mock;
    struct hr_loop *loop;
    struct hr_conns *conns;
};

struct peer {
    struct hr_conn *conn;
    int opened, eof, closed;
    int err;
    uint8_t data[65536];
    uint32_t n;
    bool release_on_data;
};

static void on_opened(void *owner)
{
    ((struct peer *)owner)->opened++;
}

static void on_data(void *owner, const uint8_t *data, uint32_t len)
{
    struct peer *peer = owner;

    memcpy(peer->data + peer->n, data, len);
    peer->n += len;
    if (peer->release_on_data)
        hr_conn_release(peer->conn);
}

static void on_eof(void *owner)
{
    ((struct peer *)owner)->eof++;
}

static void on_closed(void *owner, int err, const char *why)
{
    struct peer *peer = owner;

    assert_non_null(why);
    peer->closed++;
    peer->err = err;
}

static const struct hr_conn_ops ops = {
    .opened = on_opened, .data = on_data, .eof = on_eof, .closed = on_closed};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    mock_open(&f->mock);
    assert_int_equal(hr_loop_create(fake_clock, &f->loop), 0);
    assert_int_equal(hr_conns_create(f->loop, &f->conns), 0);
    hr_conns_attached(f->conns, MOCK_WORKERS, mock_link, &f->mock);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    hr_conns_destroy(f->conns);
    hr_loop_destroy(f->loop);
    mock_close(&f->mock);
    free(f);
    return 0;
}

static struct hr_addr some_addr(void)
{
    return hr_addr_from_v4(htonl(0x0a000001));
}

/* What the daemon does when a doorbell rings. */
static int deliver(struct fixture *f)
{
    int bad = 0;

    for (uint32_t w = 0; w < MOCK_WORKERS; w++) {
        struct hr_msg msg;

        while (hr_link_recv(&f->mock.control[w], &msg, 1) == 1)
            bad += hr_conns_event(f->conns, w, &msg) != 0;
        hr_conns_pump(f->conns, w);
    }
    return bad;
}

static struct hr_msg event(uint16_t type, uint64_t id)
{
    return (struct hr_msg){.type = type, .id = id};
}

/* Opens on the next worker in turn and answers as connection `id`. Returns the worker. */
static uint32_t open_one(struct fixture *f, struct peer *peer, uint64_t id)
{
    struct hr_addr addr = some_addr();
    struct hr_msg opened;

    assert_int_equal(hr_conn_open(f->conns, &addr, 9092, 3000, &ops, peer, &peer->conn), 0);
    for (uint32_t w = 0; w < MOCK_WORKERS; w++) {
        struct hr_msg cmd = mock_command(&f->mock, w);

        if (cmd.type == 0)
            continue;
        assert_int_equal(cmd.type, HR_CMD_CONN_OPEN);
        assert_int_equal(cmd.u.open.port, 9092);
        assert_int_equal(cmd.u.open.timeout_ms, 3000);
        assert_true(hr_addr_equal(&cmd.u.open.addr, &addr));
        opened = event(HR_EV_CONN_OPENED, cmd.id);
        opened.u.opened.conn = id;
        mock_event(&f->mock, w, opened, NULL, 0);
        assert_int_equal(deliver(f), 0);
        assert_int_equal(peer->opened, 1);
        return w;
    }
    fail_msg("no CONN_OPEN was sent");
    return 0;
}

static void workers_take_turns(void **state)
{
    struct fixture *f = *state;
    struct peer a = {0}, b = {0};

    assert_int_not_equal(open_one(f, &a, 5), open_one(f, &b, 5));
    hr_conn_release(a.conn);
    hr_conn_release(b.conn);
    for (uint32_t w = 0; w < MOCK_WORKERS; w++) {
        struct hr_msg cmd = mock_command(&f->mock, w);

        assert_int_equal(cmd.type, HR_CMD_CONN_ABORT);
        assert_int_equal(cmd.id, 5);
    }
}

/* More bytes than all slots hold: they wait, and come in order as slots come back. */
static void bytes_wait_for_slots_and_keep_their_order(void **state)
{
    struct fixture *f = *state;
    struct peer peer = {0};
    uint32_t w = open_one(f, &peer, 7), total = HR_CONN_QUEUE_MAX, got = 0;
    uint8_t *sent = malloc(total), *received = malloc(total + HR_SLOT_SIZE);
    bool fin = false;

    for (uint32_t i = 0; i < total; i++)
        sent[i] = (uint8_t)(i * 31 + i / 4096);
    assert_int_equal(hr_conn_send(peer.conn, sent, total), 0);
    assert_int_equal(hr_conn_send(peer.conn, sent, total), HR_E_FULL);
    hr_conn_shutdown(peer.conn);
    assert_int_equal(hr_conn_send(peer.conn, sent, 1), HR_E_CLOSED);
    for (int turn = 0; turn < 1000 && !fin; turn++) {
        struct hr_msg cmd = mock_command(&f->mock, w);

        if (cmd.type == 0) {
            deliver(f);
            continue;
        }
        assert_int_equal(cmd.id, 7);
        if (cmd.type == HR_CMD_CONN_SHUTDOWN) {
            fin = true;
            break;
        }
        assert_int_equal(cmd.type, HR_CMD_CONN_DATA);
        got += mock_take_data(&f->mock, w, &cmd, received + got);
    }
    assert_true(fin);
    assert_int_equal(got, total);
    assert_memory_equal(sent, received, total);
    hr_conn_release(peer.conn);
    free(sent);
    free(received);
}

static void data_eof_and_close_reach_the_owner(void **state)
{
    struct fixture *f = *state;
    struct peer peer = {0};
    uint32_t w = open_one(f, &peer, 9);

    mock_event(&f->mock, w, event(HR_EV_CONN_DATA, 9), "hello ", 6);
    mock_event(&f->mock, w, event(HR_EV_CONN_DATA, 9), "broker", 6);
    mock_event(&f->mock, w, event(HR_EV_CONN_EOF, 9), NULL, 0);
    mock_event(&f->mock, w, event(HR_EV_CONN_CLOSED, 9), NULL, 0);
    assert_int_equal(deliver(f), 0);
    assert_int_equal(peer.n, 12);
    assert_memory_equal(peer.data, "hello broker", 12);
    assert_int_equal(peer.eof, 1);
    assert_int_equal(peer.closed, 1);
    assert_int_equal(peer.err, HR_E_CLOSED);
    hr_conn_release(peer.conn);
    /* No abort for what is gone already. */
    assert_int_equal(mock_command(&f->mock, w).type, 0);
}

/* A long stream of events: every slot must come back to the worker. */
static void event_slots_are_returned(void **state)
{
    struct fixture *f = *state;
    struct peer peer = {0};
    uint32_t w = open_one(f, &peer, 9);

    for (int i = 0; i < HR_SLOTS * 5; i++) {
        mock_event(&f->mock, w, event(HR_EV_CONN_DATA, 9), "0123456789", 10);
        assert_int_equal(deliver(f), 0);
        assert_int_equal(mock_command(&f->mock, w).type, 0);
    }
    assert_int_equal(peer.n, HR_SLOTS * 50);
    /* Also those of a connection that nobody knows any more. */
    hr_conn_release(peer.conn);
    assert_int_equal(mock_command(&f->mock, w).type, HR_CMD_CONN_ABORT);
    for (int i = 0; i < HR_SLOTS * 2; i++) {
        mock_event(&f->mock, w, event(HR_EV_CONN_DATA, 9), "0123456789", 10);
        assert_int_equal(deliver(f), 0);
        assert_int_equal(mock_command(&f->mock, w).type, 0);
    }
}

static void failures_are_named(void **state)
{
    struct fixture *f = *state;
    struct hr_addr addr = some_addr();
    struct peer peer = {0};
    struct hr_msg cmd, failed;

    assert_int_equal(hr_conn_open(f->conns, &addr, 9092, 3000, &ops, &peer, &peer.conn), 0);
    cmd = mock_command(&f->mock, 0);
    assert_int_equal(cmd.type, HR_CMD_CONN_OPEN);
    failed = event(HR_EV_CONN_FAILED, cmd.id);
    failed.u.failed.failure = 2;
    mock_event(&f->mock, 0, failed, NULL, 0);
    deliver(f);
    assert_int_equal(peer.opened, 0);
    assert_int_equal(peer.closed, 1);
    assert_int_equal(peer.err, HR_E_REFUSED);
    hr_conn_release(peer.conn);
}

static void a_release_before_the_answer_aborts_after_it(void **state)
{
    struct fixture *f = *state;
    struct hr_addr addr = some_addr();
    struct peer peer = {0};
    struct hr_msg cmd, opened;

    assert_int_equal(hr_conn_open(f->conns, &addr, 9092, 3000, &ops, &peer, &peer.conn), 0);
    cmd = mock_command(&f->mock, 0);
    hr_conn_release(peer.conn);
    assert_int_equal(mock_command(&f->mock, 0).type, 0);
    opened = event(HR_EV_CONN_OPENED, cmd.id);
    opened.u.opened.conn = 77;
    mock_event(&f->mock, 0, opened, NULL, 0);
    deliver(f);
    assert_int_equal(peer.opened, 0);
    cmd = mock_command(&f->mock, 0);
    assert_int_equal(cmd.type, HR_CMD_CONN_ABORT);
    assert_int_equal(cmd.id, 77);
}

static void releasing_within_a_callback_is_safe(void **state)
{
    struct fixture *f = *state;
    struct peer peer = {.release_on_data = true};
    uint32_t w = open_one(f, &peer, 3);
    struct hr_msg cmd;

    mock_event(&f->mock, w, event(HR_EV_CONN_DATA, 3), "a", 1);
    mock_event(&f->mock, w, event(HR_EV_CONN_DATA, 3), "b", 1);
    mock_event(&f->mock, w, event(HR_EV_CONN_CLOSED, 3), NULL, 0);
    deliver(f);
    assert_int_equal(peer.n, 1);
    assert_int_equal(peer.closed, 0);
    cmd = mock_command(&f->mock, w);
    assert_true(cmd.type == 0 || cmd.type == HR_CMD_CONN_ABORT);
}

static void a_worker_that_never_answers_is_a_timeout(void **state)
{
    struct fixture *f = *state;
    struct hr_addr addr = some_addr();
    struct peer peer = {0};
    struct hr_msg cmd, opened;

    assert_int_equal(hr_conn_open(f->conns, &addr, 9092, 3000, &ops, &peer, &peer.conn), 0);
    for (int s = 0; s < 10 && !peer.closed; s++) {
        fake_now += HR_US_PER_S;
        hr_loop_turn(f->loop, 0);
    }
    assert_int_equal(peer.closed, 1);
    assert_int_equal(peer.err, HR_E_TIMEOUT);
    hr_conn_release(peer.conn);
    /* And if it answers after all, the connection is not left behind. */
    cmd = mock_command(&f->mock, 0);
    opened = event(HR_EV_CONN_OPENED, cmd.id);
    opened.u.opened.conn = 55;
    mock_event(&f->mock, 0, opened, NULL, 0);
    assert_int_equal(deliver(f), 0);
    cmd = mock_command(&f->mock, 0);
    assert_int_equal(cmd.type, HR_CMD_CONN_ABORT);
    assert_int_equal(cmd.id, 55);
}

static void losing_the_dataplane_ends_all_and_a_new_one_works(void **state)
{
    struct fixture *f = *state;
    struct hr_addr addr = some_addr();
    struct peer open = {0}, opening = {0}, again = {0};
    struct hr_conn *none;

    open_one(f, &open, 1);
    assert_int_equal(hr_conn_open(f->conns, &addr, 1, 3000, &ops, &opening, &opening.conn), 0);
    hr_conns_detached(f->conns);
    assert_int_equal(open.closed, 1);
    assert_int_equal(opening.closed, 1);
    assert_int_equal(hr_conn_open(f->conns, &addr, 1, 3000, &ops, &again, &none), HR_E_AGAIN);
    hr_conn_release(open.conn);
    hr_conn_release(opening.conn);
    mock_reset(&f->mock);
    hr_conns_attached(f->conns, MOCK_WORKERS, mock_link, &f->mock);
    open_one(f, &again, 1);
    hr_conn_release(again.conn);
}

static void nonsense_is_reported_not_believed(void **state)
{
    struct fixture *f = *state;
    struct peer a = {0}, b = {0};
    uint32_t w = open_one(f, &a, 4);
    struct hr_msg msg = event(HR_EV_CONN_DATA, 4);
    struct hr_addr addr = some_addr();
    struct hr_msg cmd;

    msg.u.data.slot = HR_SLOTS + 1;
    msg.u.data.len = 10;
    assert_int_not_equal(hr_conns_event(f->conns, w, &msg), 0);
    msg.u.data.slot = 0;
    msg.u.data.len = HR_SLOT_SIZE + 1;
    assert_int_not_equal(hr_conns_event(f->conns, w, &msg), 0);
    msg = event(HR_EV_SLOT_FREE, 0);
    msg.u.data.slot = 3; /* not handed over */
    assert_int_not_equal(hr_conns_event(f->conns, w, &msg), 0);
    msg = event(HR_EV_CONN_OPENED, 4); /* open already */
    msg.u.opened.conn = 9;
    assert_int_not_equal(hr_conns_event(f->conns, w, &msg), 0);
    assert_int_not_equal(hr_conns_event(f->conns, MOCK_WORKERS, &msg), 0);
    /* Two connections under one id. */
    assert_int_equal(hr_conn_open(f->conns, &addr, 1, 100, &ops, &b, &b.conn), 0);
    assert_int_equal(hr_conn_open(f->conns, &addr, 1, 100, &ops, &b, &b.conn), 0);
    while ((cmd = mock_command(&f->mock, w)).type != HR_CMD_CONN_OPEN)
        assert_int_not_equal(cmd.type, 0);
    msg = event(HR_EV_CONN_OPENED, cmd.id);
    msg.u.opened.conn = 4;
    assert_int_equal(hr_conns_event(f->conns, w, &msg), HR_E_INVALID);
    assert_int_equal(a.n, 0);
    assert_int_equal(a.closed, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(workers_take_turns),
        T(bytes_wait_for_slots_and_keep_their_order),
        T(data_eof_and_close_reach_the_owner),
        T(event_slots_are_returned),
        T(failures_are_named),
        T(a_release_before_the_answer_aborts_after_it),
        T(releasing_within_a_callback_is_safe),
        T(a_worker_that_never_answers_is_a_timeout),
        T(losing_the_dataplane_ends_all_and_a_new_one_works),
        T(nonsense_is_reported_not_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
