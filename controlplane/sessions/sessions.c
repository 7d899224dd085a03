#include "controlplane/sessions/sessions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/ipc/link.h"
#include "shared/ipc/messages.h"

#define QUESTIONS_MAX   16
#define LIST_TIMEOUT_US (3 * HR_US_PER_S)
#define PING_TIMEOUT_US HR_US_PER_S
#define LIST_STEP                                                                                            \
    256 /* sessions asked for at a time: a worker answers in pieces, between batches of packets */

enum kind { KIND_NONE = 0, KIND_LIST, KIND_KILL, KIND_PING };

struct question {
    struct hr_sessions *sessions;
    enum kind kind;
    uint64_t id;      /* request id; for a kill the session's */
    uint64_t waiting; /* bit per worker that has not answered completely */
    uint64_t asked_us;
    struct hr_timer timeout;
    union {
        void (*list)(void *arg, int err, const struct hr_session_info *infos, uint32_t n, bool complete);
        void (*kill)(void *arg, int err);
        void (*ping)(void *arg, const uint32_t *rtt_us, uint32_t n_workers);
    } done;
    void *arg;
    uint32_t limit;
    char principal[HR_PRINCIPAL_MAX]; /* LIST: of this one alone; "": of all */
    bool complete;
    struct hr_session_info *infos;
    uint32_t n_infos, cap_infos;
    uint32_t rtt_us[HR_MAX_WORKERS];
};

struct hr_sessions {
    struct hr_loop *loop;
    uint32_t n_workers; /* 0: detached */
    struct hr_link *(*link)(void *arg, uint32_t worker);
    void *link_arg;
    uint64_t next_id;
    struct question questions[QUESTIONS_MAX];
};

/* The question leaves the table before its owner hears of it, so the owner may ask the next one. */
static void finish(struct question *question, int err)
{
    struct question q = *question;

    hr_timer_cancel(q.sessions->loop, &question->timeout);
    memset(question, 0, sizeof(*question));
    switch (q.kind) {
    case KIND_LIST:
        q.done.list(q.arg, err, q.infos, q.n_infos, err == 0 && q.complete);
        break;
    case KIND_KILL:
        q.done.kill(q.arg, err);
        break;
    case KIND_PING:
        q.done.ping(q.arg, q.rtt_us, q.sessions->n_workers);
        break;
    case KIND_NONE:
        break;
    }
    free(q.infos);
}

static void on_timeout(struct hr_timer *timer)
{
    finish(timer->arg, HR_E_TIMEOUT);
}

int hr_sessions_create(struct hr_loop *loop, struct hr_sessions **ret_sessions)
{
    struct hr_sessions *sessions = calloc(1, sizeof(*sessions));

    if (!sessions)
        return HR_E_NOMEM;
    sessions->loop = loop;
    *ret_sessions = sessions;
    return 0;
}

void hr_sessions_destroy(struct hr_sessions *sessions)
{
    if (!sessions)
        return;
    hr_sessions_detached(sessions);
    free(sessions);
}

void hr_sessions_attached(struct hr_sessions *sessions, uint32_t n_workers,
                          struct hr_link *(*link)(void *arg, uint32_t worker), void *arg)
{
    sessions->n_workers = n_workers < HR_MAX_WORKERS ? n_workers : HR_MAX_WORKERS;
    sessions->link = link;
    sessions->link_arg = arg;
}

void hr_sessions_detached(struct hr_sessions *sessions)
{
    sessions->n_workers = 0;
    for (uint32_t i = 0; i < QUESTIONS_MAX; i++) {
        if (sessions->questions[i].kind != KIND_NONE)
            finish(&sessions->questions[i], HR_E_CLOSED);
    }
}

static int tell(struct hr_sessions *sessions, uint32_t worker, struct hr_msg *msg)
{
    struct hr_link *link = sessions->link(sessions->link_arg, worker);
    int err = hr_link_send(link, msg);

    hr_link_flush(link);
    return err;
}

static int begin(struct hr_sessions *sessions, enum kind kind, uint64_t timeout_us,
                 struct question **ret_question)
{
    if (sessions->n_workers == 0)
        return HR_E_CLOSED;
    for (uint32_t i = 0; i < QUESTIONS_MAX; i++) {
        struct question *q = &sessions->questions[i];

        if (q->kind != KIND_NONE)
            continue;
        memset(q, 0, sizeof(*q));
        q->sessions = sessions;
        q->kind = kind;
        q->id = ++sessions->next_id;
        q->asked_us = hr_loop_now(sessions->loop);
        q->timeout = (struct hr_timer){.fn = on_timeout, .arg = q};
        hr_timer_in(sessions->loop, &q->timeout, timeout_us);
        *ret_question = q;
        return 0;
    }
    return HR_E_BUSY;
}

static int ask_list(struct question *q, uint32_t worker, uint32_t from)
{
    uint32_t left = q->limit - q->n_infos;
    struct hr_msg msg = {.type = HR_CMD_SESSION_LIST, .id = q->id};

    msg.u.list.from = from;
    msg.u.list.max = left < LIST_STEP ? left : LIST_STEP;
    return tell(q->sessions, worker, &msg);
}

int hr_sessions_list(struct hr_sessions *sessions, uint32_t limit,
                     void (*done)(void *arg, int err, const struct hr_session_info *infos, uint32_t n,
                                  bool complete),
                     void *arg)
{
    return hr_sessions_list_of(sessions, "", limit, done, arg);
}

int hr_sessions_list_of(struct hr_sessions *sessions, const char *principal, uint32_t limit,
                        void (*done)(void *arg, int err, const struct hr_session_info *infos, uint32_t n,
                                     bool complete),
                        void *arg)
{
    struct question *q;
    int err = begin(sessions, KIND_LIST, LIST_TIMEOUT_US, &q);

    if (err)
        return err;
    snprintf(q->principal, sizeof(q->principal), "%s", principal);
    q->done.list = done;
    q->arg = arg;
    q->limit = limit < HR_SESSIONS_LIST_MAX ? limit : HR_SESSIONS_LIST_MAX;
    q->complete = true;
    for (uint32_t w = 0; w < sessions->n_workers; w++) {
        /* A worker whose ring is full will not have answered when the time is up. */
        q->waiting |= 1ULL << w;
        (void)!ask_list(q, w, 0);
    }
    return 0;
}

int hr_sessions_kill(struct hr_sessions *sessions, uint64_t id, void (*done)(void *arg, int err), void *arg)
{
    struct hr_msg msg = {.type = HR_CMD_SESSION_KILL, .id = id};
    uint32_t worker = (uint32_t)(id >> 56);
    struct question *q;
    int err;

    if (sessions->n_workers == 0)
        return HR_E_CLOSED;
    if (worker >= sessions->n_workers)
        return HR_E_INVALID;
    err = begin(sessions, KIND_KILL, LIST_TIMEOUT_US, &q);
    if (err)
        return err;
    q->id = id;
    q->waiting = 1ULL << worker;
    q->done.kill = done;
    q->arg = arg;
    (void)!tell(sessions, worker, &msg);
    return 0;
}

int hr_sessions_end(struct hr_sessions *sessions, uint64_t id)
{
    struct hr_msg msg = {.type = HR_CMD_SESSION_KILL, .id = id};
    uint32_t worker = (uint32_t)(id >> 56);

    if (sessions->n_workers == 0)
        return HR_E_CLOSED;
    return worker < sessions->n_workers ? tell(sessions, worker, &msg) : HR_E_INVALID;
}

int hr_sessions_ping(struct hr_sessions *sessions,
                     void (*done)(void *arg, const uint32_t *rtt_us, uint32_t n_workers), void *arg)
{
    struct question *q;
    int err = begin(sessions, KIND_PING, PING_TIMEOUT_US, &q);

    if (err)
        return err;
    q->done.ping = done;
    q->arg = arg;
    for (uint32_t w = 0; w < sessions->n_workers; w++) {
        struct hr_msg msg = {.type = HR_CMD_PING, .id = q->id};

        q->rtt_us[w] = UINT32_MAX;
        q->waiting |= 1ULL << w;
        (void)!tell(sessions, w, &msg);
    }
    return 0;
}

static struct question *find(struct hr_sessions *sessions, enum kind kind, uint32_t worker, uint64_t id)
{
    for (uint32_t i = 0; i < QUESTIONS_MAX; i++) {
        struct question *q = &sessions->questions[i];

        if (q->kind == kind && q->id == id && (q->waiting & (1ULL << worker)))
            return q;
    }
    return NULL;
}

static int add_info(struct question *q, const struct hr_session_info *from)
{
    struct hr_session_info info = *from, *infos;

    info.client_id[sizeof(info.client_id) - 1] = '\0';
    info.vpc_endpoint[sizeof(info.vpc_endpoint) - 1] = '\0';
    info.login.principal[sizeof(info.login.principal) - 1] = '\0';
    info.login.identity_name[sizeof(info.login.identity_name) - 1] = '\0';
    if (q->principal[0] && strcmp(q->principal, info.login.principal) != 0)
        return 0;
    if (q->n_infos == q->limit) {
        q->complete = false;
        return 0;
    }
    if (q->n_infos == q->cap_infos) {
        uint32_t cap = q->cap_infos ? q->cap_infos * 2 : 256;

        if (!(infos = realloc(q->infos, cap * sizeof(*infos))))
            return HR_E_NOMEM;
        q->infos = infos;
        q->cap_infos = cap;
    }
    q->infos[q->n_infos++] = info;
    return 0;
}

static int add_infos(struct question *q, const uint8_t *data, uint32_t len)
{
    int err = 0;

    for (uint32_t i = 0; i < len / sizeof(struct hr_session_info) && !err; i++)
        err = add_info(q, (const struct hr_session_info *)(const void *)data + i);
    return err;
}

static int on_info(struct hr_sessions *sessions, uint32_t worker, const struct hr_msg *msg)
{
    struct hr_link *link = sessions->link(sessions->link_arg, worker);
    struct question *q = find(sessions, KIND_LIST, worker, msg->id);
    uint32_t slot = msg->u.data.slot, len = msg->u.data.len;
    const uint8_t *data;
    int err = hr_link_slot_read(link, slot, len, &data);

    if (err)
        return err;
    if (q && add_infos(q, data, len) != 0)
        q->complete = false;
    return hr_link_slot_done(link, slot, HR_CMD_SLOT_FREE);
}

static int on_list_end(struct hr_sessions *sessions, uint32_t worker, const struct hr_msg *msg)
{
    struct question *q = find(sessions, KIND_LIST, worker, msg->id);

    if (!q)
        return 0; /* it was too late */
    if (msg->u.list.from != 0 && q->n_infos < q->limit) {
        (void)!ask_list(q, worker, msg->u.list.from);
        return 0;
    }
    if (msg->u.list.from != 0)
        q->complete = false;
    q->waiting &= ~(1ULL << worker);
    if (!q->waiting)
        finish(q, 0);
    return 0;
}

int hr_sessions_event(struct hr_sessions *sessions, uint32_t worker, const struct hr_msg *msg)
{
    struct question *q;

    if (worker >= sessions->n_workers)
        return HR_E_INVALID;
    switch (msg->type) {
    case HR_EV_SESSION_INFO:
        return on_info(sessions, worker, msg);
    case HR_EV_SESSION_LIST_END:
        return on_list_end(sessions, worker, msg);
    case HR_EV_SESSION_KILLED:
        q = find(sessions, KIND_KILL, worker, msg->id);
        if (q)
            finish(q, msg->u.failed.failure ? HR_E_NOT_FOUND : 0);
        return 0;
    case HR_EV_PONG:
        q = find(sessions, KIND_PING, worker, msg->id);
        if (q) {
            q->rtt_us[worker] = (uint32_t)(hr_loop_now(sessions->loop) - q->asked_us);
            q->waiting &= ~(1ULL << worker);
            if (!q->waiting)
                finish(q, 0);
        }
        return 0;
    default:
        return HR_E_INVALID;
    }
}
