/* A small valid snapshot for tests and fuzz targets: one Kafka listener, one TCP listener, three brokers. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "shared/base/log.h"
#include "shared/ipc/policy.h"

static inline void hr_policy_sample(struct hr_policy *p, uint64_t generation)
{
    memset(p, 0, sizeof(*p));
    p->magic = HR_POLICY_MAGIC;
    p->size = sizeof(*p);
    p->generation = generation;
    p->cluster_known = 1;
    p->log_level = HR_LOG_INFO;
    p->max_sessions = 1000;
    p->hold_max_bytes = 1 << 20;
    p->drain_timeout_ms = 1000;
    p->zones.n = 4;
    p->zones.own = 1;
    for (int i = 1; i < 4; i++)
        snprintf(p->zones.name[i], sizeof(p->zones.name[i]), "zone-%c", 'a' + i - 1);

    p->n_listeners = 2;
    struct hr_policy_listener *l = &p->listeners[0];
    snprintf(l->name, sizeof(l->name), "kafka");
    l->mode = HR_LISTENER_KAFKA;
    l->bind = hr_addr_from_v4(htonl(0x0a000005)); /* 10.0.0.5 */
    l->bootstrap_port = 9092;
    l->node_port_base = 9200;
    l->node_id_min = 1;
    l->node_id_max = 99;
    snprintf(l->adv_host, sizeof(l->adv_host), "b$(nodeId).example.com");
    l->adv_port_base = 19200;
    l->adv_port_per_node = 1;
    l->max_connections = 100;
    l->max_frame_bytes = 104857600;
    l->max_in_flight = 1024;
    l->zone_reads = HR_ZONE_READS_OFF;
    l->connect_timeout_ms = 3000;

    l = &p->listeners[1];
    snprintf(l->name, sizeof(l->name), "tcp");
    l->mode = HR_LISTENER_TCP;
    l->bind = hr_addr_from_v4(htonl(0x0a000005));
    l->bootstrap_port = 5201;
    l->target_valid = 1;
    l->target = hr_addr_from_v4(htonl(0x0a000009));
    l->target_port = 5201;
    l->max_connections = 100;
    l->connect_timeout_ms = 3000;

    p->n_brokers = 3;
    for (uint32_t i = 0; i < 3; i++) {
        p->brokers[i].node_id = (int32_t)(i * 2 + 1); /* 1, 3, 5 */
        p->brokers[i].port = 9092;
        p->brokers[i].flags = HR_BROKER_ALIVE;
        p->brokers[i].addr = hr_addr_from_v4(htonl(0x0a010001 + i));
        p->brokers[i].zone = (uint8_t)(i + 1);
    }
}
