#include "shared/ipc/doorbell.h"

#include <sys/socket.h>

int hr_doorbell_create(int *ret_ring_fd, int *ret_wait_fd)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return HR_E_SYSTEM;
    /* One way only: what the sleeping side could send back would never be read. */
    shutdown(ends[0], SHUT_RD);
    *ret_ring_fd = ends[0];
    *ret_wait_fd = ends[1];
    return 0;
}

void hr_doorbell_ring(int ring_fd)
{
    /* EAGAIN: it has rung so often that the buffer is full, so it is readable. EPIPE: nobody waits any more. */
    ssize_t n = send(ring_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)n;
}

void hr_doorbell_clear(int wait_fd)
{
    /* A full socket buffer holds a few hundred rings of one byte; the bound keeps a peer that rings without end from
     * holding us here. */
    char rung[1024];
    for (int i = 0; i < 4; i++) {
        if (recv(wait_fd, rung, sizeof(rung), MSG_DONTWAIT) < (ssize_t)sizeof(rung))
            return;
    }
}
