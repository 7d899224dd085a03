/* A line of the control socket: whatever it is, it is refused with a reason or is an object with a command.
 */
#include <stdlib.h>
#include <string.h>

#include "controlplane/admin/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *cmd = NULL;
    json_t *args = NULL;
    char why[160] = "";
    char *text;

    if (size > HR_ADMIN_LINE_MAX)
        return 0;
    if (hr_admin_parse((const char *)data, (uint32_t)size, &args, &cmd, why) != 0) {
        if (why[0] == '\0' || memchr(why, '\0', sizeof(why)) == NULL)
            abort();
        return 0;
    }
    if (!json_is_object(args) || !cmd || strcmp(cmd, json_string_value(json_object_get(args, "cmd"))) != 0)
        abort();
    /* What was read can be written: answers carry parts of requests. */
    text = json_dumps(args, JSON_COMPACT);
    if (!text)
        abort();
    free(text);
    json_decref(args);
    return 0;
}
