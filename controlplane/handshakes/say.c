/* What became of a handshake or a login, counted and logged. A login that succeeded is told each time, with who the client
 * is, by what, and who we are to its broker; refusals are told once a second for each reason. What a client says of itself
 * was escaped by who read it. */
#include <stdio.h>
#include <string.h>

#include "controlplane/handshakes/impl.h"
#include "shared/base/log.h"

static const char *const names[] = {
#define X(name, text) [HR_SASL_REASON_##name] = #name,
    HR_SASL_REASONS(X)
#undef X
#define X(name, text) [HR_LOGIN_REASON_##name] = #name,
    HR_LOGIN_REASONS(X)
#undef X
};
static const char *const texts[] = {
#define X(name, text) [HR_SASL_REASON_##name] = text,
    HR_SASL_REASONS(X)
#undef X
#define X(name, text) [HR_LOGIN_REASON_##name] = text,
    HR_LOGIN_REASONS(X)
#undef X
};
_Static_assert((unsigned)HR_SASL_REASON_MAX <= (unsigned)HR_LOGIN_REASON_OF_CLIENT, "two lists, one order");

const char *hr_login_reason_name(unsigned reason)
{
    return reason < HR_LOGIN_REASON_MAX && names[reason] ? names[reason] : "";
}

const char *hr_login_reason_text(unsigned reason)
{
    return reason < HR_LOGIN_REASON_MAX && texts[reason] ? texts[reason] : "";
}

void hr_shake_say_tls(struct shake *s, enum hr_tls_leg leg, enum hr_tls_reason reason, const char *detail)
{
    char client[HR_ADDR_STR_MAX], more[HR_LOG_MORE_MAX];

    hr_tls_store_count_reason(s->all->store, leg, reason);
    if (!hr_log_may(&s->all->tls_said[leg][reason], hr_loop_now(s->all->loop), more))
        return;
    hr_log_warn("TLS %s for client %s:%u of listener %s failed: %s: %s%s%s%s%s",
                leg == HR_TLS_CLIENTS ? "handshake" : "with the broker", hr_addr_format(&s->from.client, client),
                s->from.client_port, s->listener, hr_tls_reason_name(reason), hr_tls_reason_text(reason),
                *detail ? " (" : "", detail, *detail ? ")" : "", more);
}

/* "User:alice", or what the client said to be. */
static const char *who(const struct shake *s, char text[4 * HR_PRINCIPAL_MAX])
{
    if (s->login.principal[0])
        hr_log_escape(text, 4 * HR_PRINCIPAL_MAX, s->login.principal, (uint32_t)strlen(s->login.principal));
    else
        snprintf(text, 4 * HR_PRINCIPAL_MAX, "%s", s->sasl ? hr_sasl_server_claimed(s->sasl) : "");
    return text;
}

void hr_shake_say_login(struct shake *s, unsigned reason, const char *detail)
{
    char client[HR_ADDR_STR_MAX], more[HR_LOG_MORE_MAX], name[4 * HR_PRINCIPAL_MAX];

    s->all->info.login_failed[reason]++;
    if (!hr_log_may(&s->all->login_said[reason], hr_loop_now(s->all->loop), more))
        return;
    hr_log_warn("login of client %s:%u of listener %s as \"%s\"%s%s refused: %s: %s%s%s%s%s",
                hr_addr_format(&s->from.client, client), s->from.client_port, s->listener, who(s, name),
                s->login.identity_name[0] ? ", at the broker as " : "", s->login.identity_name,
                hr_login_reason_name(reason), hr_login_reason_text(reason), *detail ? " (" : "", detail,
                *detail ? ")" : "", more);
}

void hr_shake_say_started(const struct shake *s)
{
    char client[HR_ADDR_STR_MAX], name[4 * HR_PRINCIPAL_MAX], as[HR_IDENTITY_NAME_MAX + 96] = "";

    if (hr_session_login_empty(&s->login))
        return;
    if (s->login.broker_mechanism)
        snprintf(as, sizeof(as), ", at broker %d as \"%s\" (%s)", s->to.node_id, s->login.identity_name,
                 hr_mechanism_name((enum hr_mechanism)s->login.broker_mechanism));
    hr_log_info("client %s:%u of listener %s is \"%s\" (%s)%s", hr_addr_format(&s->from.client, client),
                s->from.client_port, s->listener, who(s, name),
                s->login.mechanism       ? hr_mechanism_name((enum hr_mechanism)s->login.mechanism)
                : s->login.principal[0] == '\0' || strcmp(s->login.principal, "ANONYMOUS") == 0 ? "no login"
                                                                                               : "certificate",
                as);
}
