#include "controlplane/logevents/logevents.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/counters.h"
#include "shared/base/log.h"
#include "shared/ipc/messages.h"

static uint64_t fake_now = 1;

static uint64_t fake_clock(void)
{
    return fake_now;
}

static struct hr_msg event(uint16_t what, uint16_t reason)
{
    struct hr_msg msg = {.type = HR_EV_LOG};

    msg.u.log.event = what;
    msg.u.log.reason = reason;
    msg.u.log.addr = hr_addr_from_v4(htonl(0xc0000201));
    msg.u.log.port = 40001;
    msg.u.log.node_id = 7;
    msg.u.log.a = 3;
    msg.u.log.b = 13;
    return msg;
}

static void every_placeholder_is_filled(void **state)
{
    struct hr_msg msg = event(HR_LOGEV_BAD_INPUT, HR_DROP_kafka_header);
    char text[512];

    (void)state;
    hr_logevents_format(&msg, text, sizeof(text));
    assert_string_equal(
        text, "session of 192.0.2.1:40001 with node 7 closed: kafka_header (session closed: malformed "
              "request header), api 3 version 13");
    for (uint16_t e = 1; e < HR_LOGEV_MAX; e++) {
        msg = event(e, HR_DROP_killed);
        hr_logevents_format(&msg, text, sizeof(text));
        assert_null(strchr(text, '{'));
        assert_null(strchr(text, '}'));
    }
}

static void numbers_that_make_no_sense_are_shown_as_numbers(void **state)
{
    struct hr_msg msg = event(60000, 60000);
    char text[512], tiny[10];

    (void)state;
    hr_logevents_format(&msg, text, sizeof(text));
    assert_string_equal(text, "unknown event 60000 of a worker");
    msg = event(HR_LOGEV_SESSION_CLOSED, 60000);
    assert_true(hr_addr_parse("2600:1::5", &msg.u.log.addr));
    msg.u.log.node_id = -1;
    hr_logevents_format(&msg, text, sizeof(text));
    assert_string_equal(text, "session of [2600:1::5]:40001 with node (bootstrap) closed: reason 60000");
    hr_logevents_format(&msg, tiny, sizeof(tiny));
    assert_string_equal(tiny, "session o");
}

/* Lines that reach stderr, which is a file here. */
static int count_lines(FILE *file)
{
    int lines = 0, c;

    rewind(file);
    while ((c = fgetc(file)) != EOF)
        lines += c == '\n';
    return lines;
}

static void a_storm_is_a_few_lines_and_a_count(void **state)
{
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    struct hr_msg storm = event(HR_LOGEV_BAD_INPUT, HR_DROP_kafka_header);
    struct hr_msg other = event(HR_LOGEV_BAD_INPUT, HR_DROP_kafka_version);
    struct hr_logevents *events;
    struct hr_loop *loop;
    char text[4096] = "";
    int after_storm, after_other, after_pause, after_report;
    size_t n;

    (void)state;
    assert_int_equal(hr_loop_create(fake_clock, &loop), 0);
    events = hr_logevents_create(loop);
    hr_log_set_level(HR_LOG_INFO);
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    for (int i = 0; i < 1000; i++)
        hr_logevents_event(events, 0, &storm);
    after_storm = count_lines(file);
    hr_logevents_event(events, 0, &other); /* has a budget of its own */
    after_other = count_lines(file);
    fake_now += 5 * HR_US_PER_S;
    for (int i = 0; i < 1000; i++)
        hr_logevents_event(events, 0, &storm);
    after_pause = count_lines(file);
    fake_now += 5 * HR_US_PER_S;
    hr_loop_turn(loop, 0);
    after_report = count_lines(file);
    rewind(file);
    n = fread(text, 1, sizeof(text) - 1, file);
    dup2(saved, STDERR_FILENO);
    close(saved);
    fclose(file);
    text[n] = '\0';
    assert_int_equal(after_storm, HR_LOGEVENTS_BURST);
    assert_int_equal(after_other, HR_LOGEVENTS_BURST + 1);
    assert_int_equal(after_pause, HR_LOGEVENTS_BURST + 6);
    assert_int_equal(after_report, HR_LOGEVENTS_BURST + 7);
    assert_non_null(strstr(text, "1985 more like this"));
    hr_logevents_destroy(events);
    hr_loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_placeholder_is_filled),
        cmocka_unit_test(numbers_that_make_no_sense_are_shown_as_numbers),
        cmocka_unit_test(a_storm_is_a_few_lines_and_a_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
