#include "controlplane/dns/dns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"

static uint64_t fake_now;
static int n_started, n_changed;
static char started_host[256];

static uint64_t fake_clock(void)
{
    return fake_now;
}

static void fake_start(struct hr_resolver *resolver, struct hr_dns *dns, const char *host)
{
    (void)resolver;
    (void)dns;
    n_started++;
    strncpy(started_host, host, sizeof(started_host) - 1);
}

static void on_changed(void *owner)
{
    (void)owner;
    n_changed++;
}

static struct hr_resolver resolver = {.start = fake_start};
static struct hr_loop *loop;
static struct hr_dns *dns;
static struct hr_addr got[HR_DNS_ADDRS_MAX];
static uint32_t n_got;

static int set_up(void **state)
{
    (void)state;
    fake_now = HR_US_PER_S;
    n_started = n_changed = 0;
    assert_int_equal(hr_loop_create(fake_clock, &loop), 0);
    return hr_dns_create(loop, &resolver, on_changed, NULL, &dns);
}

static int tear_down(void **state)
{
    (void)state;
    hr_dns_destroy(dns);
    hr_loop_destroy(loop);
    return 0;
}

static struct hr_addr ip(uint8_t last)
{
    return hr_addr_from_v4(htonl(0x0a000000u | last));
}

static void answer(const char *host, uint32_t ttl_s, uint32_t n, ...)
{
    struct hr_addr addrs[HR_DNS_ADDRS_MAX];
    va_list args;

    va_start(args, n);
    for (uint32_t i = 0; i < n; i++)
        addrs[i] = ip((uint8_t)va_arg(args, int));
    va_end(args);
    hr_dns_answer(dns, host, n ? 0 : HR_E_NOT_FOUND, addrs, n, ttl_s);
}

static void pass(uint64_t seconds)
{
    fake_now += seconds * HR_US_PER_S;
    hr_loop_turn(loop, 0);
}

static int lookup(const char *host)
{
    return hr_dns_lookup(dns, host, got, &n_got);
}

static void literals_pass_through(void **state)
{
    struct hr_addr want = ip(7);

    (void)state;
    assert_int_equal(lookup("10.0.0.7"), 0);
    assert_int_equal(n_got, 1);
    assert_true(hr_addr_equal(&got[0], &want));
    assert_true(hr_addr_parse("2600:1::7", &want));
    assert_int_equal(lookup("2600:1::7"), 0);
    assert_true(hr_addr_equal(&got[0], &want));
    assert_int_equal(n_started, 0);
}

static void what_is_no_name_is_refused(void **state)
{
    char huge[300];

    (void)state;
    memset(huge, 'a', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    assert_int_equal(lookup(""), HR_E_INVALID);
    assert_int_equal(lookup("a b"), HR_E_INVALID);
    assert_int_equal(lookup("x\n"), HR_E_INVALID);
    assert_int_equal(lookup(huge), HR_E_INVALID);
    assert_int_equal(n_started, 0);
}

static void the_ttl_is_honoured(void **state)
{
    struct hr_addr second = ip(2);

    (void)state;
    assert_int_equal(lookup("b-1.example"), HR_E_AGAIN);
    assert_int_equal(lookup("b-1.example"), HR_E_AGAIN);
    assert_int_equal(n_started, 1);
    assert_string_equal(started_host, "b-1.example");
    answer("b-1.example", 60, 1, 1);
    assert_int_equal(n_changed, 1);
    assert_int_equal(lookup("b-1.example"), 0);
    pass(59);
    assert_int_equal(n_started, 1);
    pass(1);
    assert_int_equal(n_started, 2);
    /* The old address holds until the new one is there. */
    assert_int_equal(lookup("b-1.example"), 0);
    answer("b-1.example", 60, 1, 2);
    assert_int_equal(n_changed, 2);
    assert_int_equal(lookup("b-1.example"), 0);
    assert_true(hr_addr_equal(&got[0], &second));
}

static void a_ttl_of_zero_does_not_storm(void **state)
{
    (void)state;
    lookup("hosts-file");
    answer("hosts-file", 0, 1, 1);
    pass(HR_DNS_TTL_MIN_S - 1);
    assert_int_equal(n_started, 1);
    pass(1);
    assert_int_equal(n_started, 2);
    answer("hosts-file", UINT32_MAX, 1, 1);
    pass(HR_DNS_TTL_MAX_S - 1);
    lookup("hosts-file");
    assert_int_equal(n_started, 2);
    pass(1);
    assert_int_equal(n_started, 3);
    assert_int_equal(n_changed, 1);
}

static void rotated_answers_are_no_change(void **state)
{
    struct hr_addr first = ip(1);

    (void)state;
    lookup("b");
    answer("b", 10, 3, 1, 2, 3);
    pass(10);
    answer("b", 10, 3, 3, 2, 1);
    assert_int_equal(n_changed, 1);
    lookup("b");
    assert_int_equal(n_got, 3);
    assert_true(hr_addr_equal(&got[0], &first));
}

static void a_failed_connect_tries_the_next_address_and_asks_again(void **state)
{
    struct hr_addr first = ip(1), second = ip(2);

    (void)state;
    lookup("b");
    answer("b", 3600, 2, 1, 2);
    hr_dns_failed(dns, "b", &first);
    assert_int_equal(n_changed, 2);
    lookup("b");
    assert_true(hr_addr_equal(&got[0], &second));
    pass(1);
    assert_int_equal(n_started, 2);
    /* At most once a second, however many connects fail. */
    answer("b", 3600, 2, 2, 1);
    for (int i = 0; i < 100; i++)
        hr_dns_failed(dns, "b", &first);
    hr_loop_turn(loop, 0);
    assert_int_equal(n_started, 2);
    pass(1);
    assert_int_equal(n_started, 3);
    hr_dns_failed(dns, "unknown", &first);
    /* A mere hint keeps the order. */
    answer("b", 3600, 2, 2, 1);
    pass(10);
    hr_dns_refresh(dns, "b");
    hr_dns_refresh(dns, "unknown");
    hr_loop_turn(loop, 0);
    assert_int_equal(n_started, 4);
    lookup("b");
    assert_true(hr_addr_equal(&got[0], &second));
    assert_int_equal(n_changed, 2);
}

static void failures_back_off_and_keep_what_is_known(void **state)
{
    int before;

    (void)state;
    lookup("b");
    answer("b", 0, 0);
    assert_int_equal(lookup("b"), HR_E_NOT_FOUND);
    pass(1);
    assert_int_equal(n_started, 2);
    answer("b", 0, 0);
    pass(1);
    assert_int_equal(n_started, 2);
    pass(1);
    assert_int_equal(n_started, 3);
    answer("b", 5, 1, 1);
    pass(5);
    answer("b", 0, 0);
    assert_int_equal(lookup("b"), 0);
    assert_int_equal(n_got, 1);
    before = n_started;
    for (int i = 0; i < 10; i++) {
        pass(30);
        answer("b", 0, 0);
    }
    assert_true(n_started >= before + 9); /* never slower than every 30 s */
}

static void a_name_nobody_asks_for_is_dropped(void **state)
{
    (void)state;
    lookup("b");
    answer("b", 1800, 1, 1);
    pass(1800);
    answer("b", 1800, 1, 1);
    assert_int_equal(n_started, 2);
    pass(1800);
    assert_int_equal(n_started, 2);
    assert_int_equal(lookup("b"), HR_E_AGAIN);
}

static void the_number_of_names_is_bounded(void **state)
{
    char host[32];

    (void)state;
    for (int i = 0; i < HR_DNS_NAMES_MAX; i++) {
        snprintf(host, sizeof(host), "h%d", i);
        assert_int_equal(lookup(host), HR_E_AGAIN);
    }
    assert_int_equal(lookup("one-more"), HR_E_FULL);
}

/* The real resolver, on the name that every machine's hosts file has. */
static void c_ares_reads_the_hosts_file(void **state)
{
    struct hr_resolver *cares;
    struct hr_addr want = hr_addr_from_v4(htonl(INADDR_LOOPBACK));
    struct hr_loop *real;
    struct hr_dns *cache;
    int err = HR_E_AGAIN;

    (void)state;
    assert_int_equal(hr_loop_create(NULL, &real), 0);
    assert_int_equal(hr_cares_create(real, &(struct hr_dns_families){.ipv4 = true}, &cares), 0);
    assert_int_equal(hr_dns_create(real, cares, on_changed, NULL, &cache), 0);
    for (int i = 0; i < 50 && err == HR_E_AGAIN; i++) {
        err = hr_dns_lookup(cache, "localhost", got, &n_got);
        if (err == HR_E_AGAIN)
            hr_loop_turn(real, 100000);
    }
    assert_int_equal(err, 0);
    assert_true(hr_addr_equal(&got[0], &want));
    hr_cares_destroy(cares);
    hr_dns_destroy(cache);
    hr_loop_destroy(real);
}

/* An address of the family that is asked for, or none: never one of the other. */
static void only_wanted_families_are_asked_for(void **state)
{
    struct hr_resolver *cares;
    struct hr_addr loopback6;
    struct hr_loop *real;
    struct hr_dns *cache;
    int err = HR_E_AGAIN;

    (void)state;
    assert_true(hr_addr_parse("::1", &loopback6));
    assert_int_equal(hr_loop_create(NULL, &real), 0);
    assert_int_equal(hr_cares_create(real, &(struct hr_dns_families){.ipv6 = true}, &cares), 0);
    assert_int_equal(hr_dns_create(real, cares, on_changed, NULL, &cache), 0);
    for (int i = 0; i < 50 && err == HR_E_AGAIN; i++) {
        err = hr_dns_lookup(cache, "localhost", got, &n_got);
        if (err == HR_E_AGAIN)
            hr_loop_turn(real, 100000);
    }
    assert_true(err == 0 ? hr_addr_equal(&got[0], &loopback6) : err == HR_E_NOT_FOUND);
    hr_cares_destroy(cares);
    hr_dns_destroy(cache);
    hr_loop_destroy(real);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(literals_pass_through),
        T(what_is_no_name_is_refused),
        T(the_ttl_is_honoured),
        T(a_ttl_of_zero_does_not_storm),
        T(rotated_answers_are_no_change),
        T(a_failed_connect_tries_the_next_address_and_asks_again),
        T(failures_back_off_and_keep_what_is_known),
        T(a_name_nobody_asks_for_is_dropped),
        T(the_number_of_names_is_bounded),
        T(c_ares_reads_the_hosts_file),
        T(only_wanted_families_are_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
