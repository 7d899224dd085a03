#include <stdlib.h>
#include <string.h>

#include "controlplane/conn/impl.h"
#include "shared/base/log.h"

static uint16_t *place_of(struct hr_conns *conns, uint32_t worker, uint64_t id)
{
    return (uint32_t)id < PLACES ? &conns->place[worker][(uint32_t)id] : NULL;
}

void hr_conn_place_leave(struct hr_conn *conn)
{
    uint16_t *place = place_of(conn->conns, conn->worker, conn->id);

    if (conn->state == CONN_OPEN && place && *place == conn - conn->conns->table + 1)
        *place = 0;
}

void hr_conn_entry_free(struct hr_conn *conn)
{
    struct hr_conns *conns = conn->conns;
    uint32_t index = (uint32_t)(conn - conns->table);

    hr_conn_place_leave(conn);
    hr_wipebuf_free(&conn->queue);
    memset(conn, 0, sizeof(*conn));
    if (index < conns->free_hint)
        conns->free_hint = index;
    while (conns->top > 0 && conns->table[conns->top - 1].state == CONN_FREE)
        conns->top--;
}

struct hr_conn *hr_conn_entry_take(struct hr_conns *conns)
{
    for (uint32_t i = conns->free_hint; i < HR_CONN_MAX; i++) {
        if (conns->table[i].state != CONN_FREE)
            continue;
        conns->free_hint = i + 1;
        if (i >= conns->top)
            conns->top = i + 1;
        return &conns->table[i];
    }
    conns->free_hint = HR_CONN_MAX;
    return NULL;
}

void hr_conn_set_state(struct hr_conn *conn, enum conn_state state)
{
    if (state <= conn->state)
        hr_log_error("connection: from state %d to %d is no legal transition: report this", conn->state,
                     state);
    conn->state = state;
}

void hr_conn_end(struct hr_conn *conn, int err, const char *why)
{
    if (conn->state == CONN_FREE || conn->state == CONN_ENDED)
        return;
    hr_conn_place_leave(conn);
    hr_conn_set_state(conn, CONN_ENDED);
    hr_wipebuf_clear(&conn->queue);
    conn->head = 0;
    if (!conn->released) {
        conn->in_callback = true;
        conn->ops->closed(conn->owner, err, why);
        conn->in_callback = false;
    }
    if (conn->released)
        hr_conn_entry_free(conn);
}

struct hr_conn *hr_conn_entry_find(struct hr_conns *conns, uint32_t worker, uint64_t id)
{
    uint16_t *place = place_of(conns, worker, id);
    struct hr_conn *conn;

    if (id & REQUEST_BIT)
        conn = (uint32_t)id < HR_CONN_MAX ? &conns->table[(uint32_t)id] : NULL;
    else
        conn = place && *place ? &conns->table[*place - 1] : NULL;
    return conn && (conn->state == CONN_OPENING || conn->state == CONN_OPEN) && conn->worker == worker &&
                   conn->id == id
               ? conn
               : NULL;
}

int hr_conn_place_take(struct hr_conn *conn, uint64_t id)
{
    uint16_t *place = place_of(conn->conns, conn->worker, id);

    if ((id & REQUEST_BIT) || !place || *place)
        return HR_E_INVALID;
    *place = (uint16_t)(conn - conn->conns->table + 1);
    conn->id = id;
    return 0;
}
