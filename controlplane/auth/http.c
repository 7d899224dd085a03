#include "controlplane/auth/http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

#include "controlplane/auth/crypto.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/wipebuf.h"

struct hr_http {
    struct hr_loop *loop;
    CURLM *multi;
    struct hr_timer timer;
    struct hr_http_call *calls;
    struct socket_watch *watches;
    bool closing;
};

struct socket_watch {
    struct hr_watch watch; /* first: its arg is the hr_http */
    struct socket_watch *next;
};

struct hr_http_call {
    struct hr_http *http;
    struct hr_http_call *next;
    CURL *easy;
    struct curl_slist *headers;
    hr_http_done_fn *done;
    void *arg;
    char *request_body;
    struct hr_wipebuf body;
    size_t max;
    int64_t date_s, max_age_s;
    bool too_large;
    char error[CURL_ERROR_SIZE];
};

static void free_call(struct hr_http_call *call)
{
    struct hr_http_call **at = &call->http->calls;

    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    if (call->easy) {
        curl_multi_remove_handle(call->http->multi, call->easy);
        curl_easy_cleanup(call->easy);
    }
    for (struct curl_slist *h = call->headers; h; h = h->next)
        hr_wipe(h->data, strlen(h->data)); /* tokens */
    curl_slist_free_all(call->headers);
    if (call->request_body)
        hr_wipe(call->request_body, strlen(call->request_body));
    free(call->request_body);
    hr_wipebuf_free(&call->body);
    free(call);
}

static int error_of(const struct hr_http_call *call, CURLcode code)
{
    if (call->too_large)
        return HR_E_TOO_LARGE;
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_OPERATION_TIMEDOUT:
        return HR_E_TIMEOUT;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        return HR_E_REFUSED;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        return HR_E_INVALID;
    default:
        return HR_E_CLOSED;
    }
}

static void finish(struct hr_http_call *call, CURLcode code)
{
    struct hr_http_reply reply = {.err = error_of(call, code), .date_s = call->date_s, .max_age_s = call->max_age_s,
                                  .body = call->body.data ? (const char *)call->body.data : "",
                                  .len = call->body.len};
    hr_http_done_fn *done = call->done;
    long status = 0;

    reply.why = call->too_large ? "the answer is too large" : call->error[0] ? call->error : curl_easy_strerror(code);
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    reply.status = (uint32_t)status;
    done(call->arg, &reply);
    free_call(call);
}

static void take_finished(struct hr_http *http)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(http->multi, &left))) {
        struct hr_http_call *call;
        CURLcode code = msg->data.result;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        finish(call, code);
    }
}

static void on_socket(struct hr_watch *watch, uint32_t events)
{
    struct hr_http *http = watch->arg;
    int running, fd = watch->fd; /* the watch may be freed by what follows */

    curl_multi_socket_action(http->multi, fd,
                             (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                                 (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0),
                             &running);
    take_finished(http);
}

static void on_timer(struct hr_timer *timer)
{
    struct hr_http *http = timer->arg;
    int running;

    curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    take_finished(http);
}

static int want_timer(CURLM *multi, long ms, void *arg)
{
    struct hr_http *http = arg;

    (void)multi;
    if (ms < 0)
        hr_timer_cancel(http->loop, &http->timer);
    else
        hr_timer_in(http->loop, &http->timer, (uint64_t)ms * HR_US_PER_MS);
    return 0;
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned)
{
    struct hr_http *http = arg;
    struct socket_watch *w = assigned;
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        struct socket_watch **at = &http->watches;

        while (*at && *at != w)
            at = &(*at)->next;
        if (*at) {
            *at = w->next;
            hr_loop_remove(http->loop, &w->watch);
            free(w);
        }
        return 0;
    }
    if (w) {
        hr_loop_modify(http->loop, &w->watch, events);
        return 0;
    }
    w = calloc(1, sizeof(*w));
    if (!w)
        return -1;
    w->watch = (struct hr_watch){.fd = fd, .fn = on_socket, .arg = http};
    if (hr_loop_add(http->loop, &w->watch, events) != 0) {
        free(w);
        return -1;
    }
    w->next = http->watches;
    http->watches = w;
    curl_multi_assign(http->multi, fd, w);
    return 0;
}

/* An answer may hold keys. */
static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct hr_http_call *call = arg;
    size_t len = size * n;

    if (len > call->max - call->body.len) {
        call->too_large = true;
        return 0;
    }
    return hr_wipebuf_append(&call->body, data, (uint32_t)len) == 0 ? len : 0;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
    struct hr_http_call *call = arg;
    size_t len = size * n;
    char line[256];

    if (len >= sizeof(line))
        return len;
    memcpy(line, data, len);
    line[len] = '\0';
    if (strncasecmp(line, "Date:", 5) == 0) {
        time_t date = curl_getdate(line + 5, NULL);

        if (date > 0)
            call->date_s = date;
    } else if (strncasecmp(line, "Cache-Control:", 14) == 0) {
        const char *age = strcasestr(line, "max-age=");

        if (age && age[8] >= '0' && age[8] <= '9')
            call->max_age_s = strtoll(age + 8, NULL, 10);
    }
    return len;
}

int hr_http_create(struct hr_loop *loop, struct hr_http **ret_http)
{
    static bool ready;
    struct hr_http *http = calloc(1, sizeof(*http));

    if (!ready && curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        free(http);
        return HR_E_SYSTEM;
    }
    ready = true;
    if (!http || !(http->multi = curl_multi_init())) {
        free(http);
        return HR_E_NOMEM;
    }
    http->loop = loop;
    http->timer = (struct hr_timer){.fn = on_timer, .arg = http};
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, want_timer);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    *ret_http = http;
    return 0;
}

void hr_http_destroy(struct hr_http *http)
{
    if (!http)
        return;
    while (http->calls)
        free_call(http->calls);
    curl_multi_cleanup(http->multi); /* gives up its idle connections, and with them the watches */
    while (http->watches) {
        struct socket_watch *w = http->watches;

        http->watches = w->next;
        hr_loop_remove(http->loop, &w->watch);
        free(w);
    }
    hr_timer_cancel(http->loop, &http->timer);
    free(http);
}

static bool set_up(struct hr_http_call *call, const struct hr_http_request *r)
{
    CURL *easy = call->easy;
    bool ok = true;

    for (int i = 0; i < HR_HTTP_HEADERS_MAX && r->headers[i]; i++) {
        struct curl_slist *more = curl_slist_append(call->headers, r->headers[i]);

        if (!more)
            return false;
        call->headers = more;
    }
#define SET(option, value) (ok = curl_easy_setopt(easy, CURLOPT_##option, value) == CURLE_OK && ok)
    SET(URL, r->url);
    SET(PRIVATE, call);
    SET(ERRORBUFFER, call->error);
    SET(NOSIGNAL, 1L);
    SET(PROTOCOLS_STR, "http,https");
    SET(FOLLOWLOCATION, 0L);
    SET(TIMEOUT_MS, (long)r->timeout_ms);
    SET(CONNECTTIMEOUT_MS, (long)r->timeout_ms);
    SET(USERAGENT, "headrace/" HR_VERSION);
    SET(HTTPHEADER, call->headers);
    SET(WRITEFUNCTION, on_body);
    SET(WRITEDATA, call);
    SET(HEADERFUNCTION, on_header);
    SET(HEADERDATA, call);
    SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (r->ca_file)
        SET(CAINFO, r->ca_file);
    if (r->direct)
        SET(PROXY, "");
    if (call->request_body) {
        SET(POSTFIELDSIZE, (long)strlen(call->request_body));
        SET(POSTFIELDS, call->request_body);
    }
    if (r->method)
        SET(CUSTOMREQUEST, r->method);
#undef SET
    return ok;
}

int hr_http_send(struct hr_http *http, const struct hr_http_request *r, hr_http_done_fn *done, void *arg,
                 struct hr_http_call **ret_call)
{
    struct hr_http_call *call = calloc(1, sizeof(*call));

    if (!call)
        return HR_E_NOMEM;
    *call = (struct hr_http_call){
        .http = http, .next = http->calls, .done = done, .arg = arg, .max = r->max_bytes, .max_age_s = -1};
    http->calls = call;
    if (r->body)
        call->request_body = strdup(r->body);
    if (!(call->easy = curl_easy_init()) || (r->body && !call->request_body) || !set_up(call, r) ||
        curl_multi_add_handle(http->multi, call->easy) != CURLM_OK) {
        free_call(call);
        return HR_E_NOMEM;
    }
    *ret_call = call;
    return 0;
}

void hr_http_cancel(struct hr_http_call *call)
{
    if (call)
        free_call(call);
}
