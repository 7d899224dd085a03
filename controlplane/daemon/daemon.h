/* The control plane as a whole: its parts, and how news travel between them.
 *
 *   dataplane --events--> daemon --> conn -> metadata --changed--> publisher --policy--> dataplane
 *                           |------> sessions, logevents            ^   ^
 *   headracectl --> admin --+-- set, drain, reload -----------------+   +--- dns changed
 *
 * One thread; everything is called from the loop. Parts do not know each other: this struct joins them, and
 * only daemon, admin/commands and metrics/ include this header. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "controlplane/loop/loop.h"
#include "controlplane/policy/policy.h"
#include "shared/base/counters.h"
#include "shared/base/error.h"
#include "shared/config/config.h"
#include "shared/ipc/messages.h"

struct hr_admin;
struct hr_attach_client;
struct hr_conns;
struct hr_dns;
struct hr_drain;
struct hr_http;
struct hr_identities;
struct hr_instance_zone;
struct hr_handshakes;
struct hr_logevents;
struct hr_metadata;
struct hr_metrics;
struct hr_peers;
struct hr_publisher;
struct hr_realms;
struct hr_renewals;
struct hr_replica_maps;
struct hr_resolver;
struct hr_sessions;
struct hr_tls_store;
struct hr_zone_totals;
struct hr_zone_totals_keeper;

struct hr_daemon {
    struct hr_loop *loop;
    struct hr_config *config;   /* in force: the file, then headracectl set */
    struct hr_config *at_start; /* what the processes were started with: bounds for set */
    struct hr_overrides overrides;

    struct hr_attach_client *attach;
    struct hr_watch attach_watch;
    struct hr_watch doorbell;
    struct hr_timer take_again; /* events are left: go on next turn */
    struct hr_watch signals;

    struct hr_conns *conns;
    struct hr_resolver *resolver;
    struct hr_dns *dns;
    struct hr_tls_store *tls;
    struct hr_realms *realms; /* of listeners that ask who their clients are */
    struct hr_handshakes *handshakes;
    struct hr_renewals *renewals; /* logins in mid-session */
    struct hr_metadata *metadata;
    struct hr_http *http;
    struct hr_identities *identities; /* who we are to the brokers */
    struct hr_instance_zone *instance_zone;          /* asked where zones.own says so */
    struct hr_zone_totals_keeper *zone_totals;
    struct hr_peers *peers; /* other instances */
    struct hr_publisher *publisher;
    struct hr_replica_maps *replica_maps;
    struct hr_sessions *sessions;
    struct hr_logevents *logevents;
    struct hr_drain *drain;
    struct hr_admin *admin;
    struct hr_metrics *metrics;

    uint64_t started_us;
    uint64_t attached_us;    /* 0: not attached */
    uint64_t attaches;       /* how often, since start */
    uint64_t events;         /* messages taken from workers */
    uint64_t events_invalid; /* that made no sense */
    uint64_t policy_bad;     /* snapshots that the dataplane refused */
    char refused[160];       /* why the dataplane refused us, "" if it did not */
    char policy_error[160];  /* why it refused the last snapshot, "" if it did not */
};

/* Takes over config (heap). Everything is running when it returns; errors are logged. */
HR_MUST_CHECK int hr_daemon_create(struct hr_config *config, struct hr_daemon **ret_daemon);
void hr_daemon_destroy(struct hr_daemon *daemon);
/* Until SIGTERM or SIGINT. */
HR_MUST_CHECK int hr_daemon_run(struct hr_daemon *daemon);

/* Reads the file again. On success *ret_changes (may be NULL) is an array of {key, from, to, restart}; on
 * failure *ret_errors (may be NULL) an array of texts, and nothing has changed. The caller owns both. */
HR_MUST_CHECK int hr_daemon_reload(struct hr_daemon *daemon, json_t **ret_changes, json_t **ret_errors);
/* The configuration in force or the overrides were changed: applies them. */
void hr_daemon_apply(struct hr_daemon *daemon);

/* This proxy's zone, "": none; NULL: not known yet. */
const char *hr_daemon_zone(const struct hr_daemon *daemon);

/* Whether traffic should be sent here; *ret_why is a static text when not. */
bool hr_daemon_ready(const struct hr_daemon *daemon, const char **ret_why);

/* A copy of a worker's counters; false when not attached or there is no such worker. */
bool hr_daemon_stats(const struct hr_daemon *daemon, uint32_t worker, struct hr_stats *ret_stats);
uint32_t hr_daemon_workers(const struct hr_daemon *daemon);
/* The generation of the snapshot that every worker uses, 0 if one has none. Also right after attaching to a
 * dataplane that works by the snapshot of an earlier control plane. */
uint64_t hr_daemon_adopted(const struct hr_daemon *daemon);
