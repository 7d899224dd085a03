#include "controlplane/auth/mock_http.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

static struct MHD_Daemon *mock_daemon;
static mock_answer_fn *mock_answer;

struct upload {
    char body[4096];
    size_t len;
};

static enum MHD_Result on_query(void *arg, enum MHD_ValueKind kind, const char *key, const char *value)
{
    char *text = arg;
    size_t n = strlen(text);

    (void)kind;
    if (n + strlen(key) + (value ? strlen(value) : 0) + 3 < 1024) {
        if (n > 0)
            strcat(text, "&");
        strcat(text, key);
        strcat(text, "=");
        strcat(text, value ? value : "");
    }
    return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *n, void **state)
{
    struct upload *upload = *state;
    struct MHD_Response *response;
    struct mock_reply *reply;
    char query[1024] = "";
    enum MHD_Result result;

    (void)arg;
    (void)version;
    if (!upload) {
        *state = calloc(1, sizeof(*upload));
        return MHD_YES;
    }
    if (*n > 0) {
        size_t room = sizeof(upload->body) - 1 - upload->len, take = *n < room ? *n : room;

        memcpy(upload->body + upload->len, data, take);
        upload->len += take;
        *n = 0;
        return MHD_YES;
    }
    reply = calloc(1, sizeof(*reply));
    reply->status = 404;
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, on_query, query);
    mock_answer(&(struct mock_request){method, url, query, upload->body, connection}, reply);
    response = MHD_create_response_from_buffer(strlen(reply->body), reply->body, MHD_RESPMEM_MUST_COPY);
    if (reply->header)
        MHD_add_response_header(response, reply->header, reply->value);
    result = MHD_queue_response(connection, reply->status, response);
    MHD_destroy_response(response);
    free(reply);
    return result;
}

static void on_end(void *arg, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code)
{
    (void)arg;
    (void)connection;
    (void)code;
    free(*state);
    *state = NULL;
}

uint16_t mock_http_start(mock_answer_fn *answer)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    mock_answer = answer;
    mock_daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR,
                              &at, MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL, MHD_OPTION_END);
    if (!mock_daemon)
        abort();
    return MHD_get_daemon_info(mock_daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
}

void mock_http_stop(void)
{
    MHD_stop_daemon(mock_daemon);
}

const char *mock_header(const struct mock_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}
