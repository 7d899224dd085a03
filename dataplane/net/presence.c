/* Making our IPv6 addresses known: the check for duplicates before the first use (RFC 4862 5.4), the announcement
 * after it, the groups that switches must know of (RFC 3810), and the search for routers (RFC 4861 6.3.7).
 *
 * Every worker's net waits out the check, since an objection reaches one of them only; one net speaks for all
 * (hr_net_announce). Multicast listener queries carry an extension header, which we refuse, so memberships are
 * reported unasked, well within the 260 s for which they are believed. */
#include <string.h>

#include "dataplane/net/impl.h"
#include "dataplane/net/mcast.h"

#define MLD2_REPORT 143
#define MLD2_TO_EXCLUDE 4 /* of no source: everything sent to the group */
#define MLD2_RECORD_LEN 20

static void report_memberships(struct hr_net *net, uint32_t port_index)
{
    static const struct hr_addr mld2_routers = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16}};
    static const struct hr_addr link_local = {{0xfe, 0x80}};
    struct hr_addr groups[HR_PORT_MAX_ADDRS + 1];
    uint8_t msg[8 + HR_PORT_MAX_ADDRS * MLD2_RECORD_LEN] = {MLD2_REPORT};
    uint32_t n = hr_mcast_groups(&net->ports[port_index], groups);
    if (n < 2)
        return;
    /* The first is all-nodes, to which nobody needs to belong. */
    msg[7] = (uint8_t)(n - 1);
    for (uint32_t i = 1; i < n; i++) {
        uint8_t *record = msg + 8 + (i - 1) * MLD2_RECORD_LEN;
        record[0] = MLD2_TO_EXCLUDE;
        memcpy(record + 4, &groups[i], sizeof(groups[i]));
    }
    struct hr_icmp6_out out = {.dst = mld2_routers,
                               .hop_limit = 1,
                               .router_alert = true,
                               .len = (uint16_t)(8 + (n - 1) * MLD2_RECORD_LEN),
                               .body = msg};
    const struct hr_addr *from = hr_net_addr_toward(net, port_index, &link_local);
    if (from != NULL && hr_addr_is_link_local(from))
        out.src = *from; /* else unspecified: RFC 3590 */
    HR_COUNT(net->stats, nd_tx);
    hr_icmp6_send(net, port_index, &out);
}

void hr_presence_begin(struct hr_net *net)
{
    net->speaks = true;
    for (uint32_t p = 0; p < net->n_ports; p++)
        report_memberships(net, p);
    for (uint32_t i = 0; i < net->n_local; i++) {
        if (net->local[i].state == HR_LOCAL_TENTATIVE)
            hr_nd_probe(net, &net->local[i]);
    }
    net->rs_left = HR_RS_TRIES;
}

void hr_presence_duplicate(struct hr_net *net, const struct hr_addr *addr)
{
    int i = hr_net_local_index(net, addr);
    if (i >= 0 && net->local[i].state == HR_LOCAL_TENTATIVE)
        net->local[i].state = HR_LOCAL_DUPLICATE;
}

static void end_check(struct hr_net *net)
{
    net->dad_end_us = UINT64_MAX;
    net->mld_us = net->rs_us = net->now_us;
    for (uint32_t i = 0; i < net->n_local; i++) {
        if (net->local[i].state != HR_LOCAL_TENTATIVE)
            continue;
        net->local[i].state = HR_LOCAL_USABLE;
        if (net->speaks)
            hr_nd_announce(net, &net->local[i]);
    }
}

/* Until one has answered, three times (RFC 4861 6.3.7). */
static void solicit_routers(struct hr_net *net)
{
    bool asked = false;
    for (uint32_t p = 0; p < net->n_ports && net->rs_left > 0; p++) {
        if (net->ports[p].accept_ra && net->advertised[p].n == 0) {
            hr_router_solicit(net, p);
            asked = true;
        }
    }
    if (asked)
        net->rs_left--;
    net->rs_us = asked && net->rs_left > 0 ? net->now_us + HR_RS_INTERVAL_US : UINT64_MAX;
}

void hr_presence_run(struct hr_net *net)
{
    if (net->dad_end_us == 0)
        net->dad_end_us = net->now_us + HR_DAD_US;
    if (net->dad_end_us != UINT64_MAX) {
        if (net->now_us < net->dad_end_us) {
            net->presence_us = net->dad_end_us;
            return;
        }
        end_check(net);
    }
    uint64_t next = hr_router_expire(net);
    if (net->speaks) {
        if (net->now_us >= net->mld_us) {
            for (uint32_t p = 0; p < net->n_ports; p++)
                report_memberships(net, p);
            net->mld_us = net->now_us + HR_MLD_INTERVAL_US;
        }
        if (net->now_us >= net->rs_us)
            solicit_routers(net);
        next = RTE_MIN(next, RTE_MIN(net->mld_us, net->rs_us));
    }
    net->presence_us = next;
}
