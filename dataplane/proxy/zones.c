/* Where everybody is, and who moves bytes between zones. */
#include <string.h>

#include "dataplane/proxy/impl.h"

/* Who moves bytes is noted after so many, half as many and half as many again at the most: at no fixed step, so that no
 * pattern of traffic falls between. */
#define NOTE_EVERY (256u * 1024)

uint8_t hr_proxy_zone_of(const struct hr_proxy *proxy, const struct hr_addr *addr)
{
    const struct hr_policy *policy = proxy->policy;

    for (uint32_t i = 0; policy && i < policy->n_brokers; i++)
        if (hr_addr_equal(&policy->brokers[i].addr, addr))
            return policy->brokers[i].zone;
    const struct hr_zone_net *net = policy ? hr_zone_find_net(&policy->zones, HR_ZONE_GLOBAL, addr) : NULL;
    return net ? net->zone : HR_ZONE_NONE;
}

void hr_session_note(struct hr_proxy *proxy, const struct hr_session *s, uint8_t broker_zone, enum hr_zone_dir dir)
{
    struct hr_zone_stats *zones = proxy->cfg.zones;

    const struct hr_session_login *login = hr_logins_at(proxy, s->login);
    struct hr_zone_moved moved = {
        .client = s->client.zone, .broker = broker_zone, .dir = (uint8_t)dir, .bytes = proxy->unnoted};
    if (s->relay) {
        moved.key = hr_relay_client_id(s->relay);
        moved.len = (uint32_t)strlen(moved.key);
        hr_zone_top_add(zones->clients, HR_ZONE_CLIENTS, &moved);
        zones->clients_seen += moved.bytes;
    }
    if (login && login->principal[0]) {
        moved.key = login->principal;
        moved.len = (uint32_t)strnlen(login->principal, sizeof(login->principal));
        hr_zone_top_add(zones->principals, HR_ZONE_PRINCIPALS, &moved);
    }
    proxy->unnoted = 0;
    proxy->note_at = NOTE_EVERY / 2 + (uint32_t)(hr_proxy_random(proxy) % NOTE_EVERY);
}
