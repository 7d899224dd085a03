/* What is known of a session's logins. Most sessions have none: they keep a number, 0, and those who have one a place in
 * this table, which is made when the configuration has somebody log in. */
#include <rte_malloc.h>
#include <string.h>

#include "dataplane/proxy/impl.h"

int hr_logins_create(struct hr_proxy *proxy)
{
    uint32_t n = proxy->cfg.max_logins;

    if (n == 0)
        return 0;
    proxy->logins = rte_zmalloc_socket("hr_logins", (n + 1) * sizeof(*proxy->logins), 64, proxy->cfg.socket_id);
    if (!proxy->logins)
        return HR_E_NOMEM;
    for (uint32_t place = n; place > 0; place--) {
        proxy->logins[place].next_free = proxy->free_login;
        proxy->free_login = place;
    }
    return 0;
}

uint32_t hr_logins_take(struct hr_proxy *proxy, const struct hr_session *s, const struct hr_session_login *login)
{
    uint32_t place = proxy->free_login;

    if (place == 0)
        return 0;
    proxy->free_login = proxy->logins[place].next_free;
    proxy->logins[place] = (struct hr_login_place){.login = *login, .session = s->index, .used = true};
    hr_reauth_init(&proxy->logins[place].reauth, login->terminates);
    return place;
}

void hr_logins_give_back(struct hr_proxy *proxy, uint32_t place)
{
    if (place == 0)
        return;
    memset(&proxy->logins[place], 0, sizeof(proxy->logins[place]));
    proxy->logins[place].next_free = proxy->free_login;
    proxy->free_login = place;
}

struct hr_login_place *hr_logins_place(const struct hr_proxy *proxy, uint32_t place)
{
    return &proxy->logins[place];
}

struct hr_session_login *hr_logins_at(const struct hr_proxy *proxy, uint32_t place)
{
    return place ? &proxy->logins[place].login : NULL;
}
