/* What daemon.c and its neighbours call of each other. Private to controlplane/daemon. */
#pragma once

#include "controlplane/loop/loop.h"

struct hr_daemon;

/* events.c */
void hr_daemon_take_events(struct hr_daemon *daemon);
void hr_daemon_on_take_again(struct hr_timer *timer);
void hr_daemon_on_doorbell(struct hr_watch *watch, uint32_t events);
