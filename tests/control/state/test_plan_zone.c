#include "control/state/plan_zone.h"

#include "dns/zone.h"
#include "tests/control/state/plan_text.h"

#include <stdio.h>
#include <string.h>

/* The records of a name: types, ports and targets of services, names of an address. */
static const char *zone_text(const struct zone *zone, const char *text)
{
    static char out[512];
    char name_text[DNS_TEXT_MAX];
    struct dns_name name;
    struct zone_match match;
    char *to = out;
    ck_assert(dns_name_from_text(&name, text));
    zone_find(zone, &name, &match);
    out[0] = '\0';
    for (const struct zone_record *record = match.records; record != NULL; record = record->next)
        if (record->type == DNS_TYPE_SRV)
            to += sprintf(to, "%d:%d:%s ", record->type, record->srv.port,
                          dns_name_to_text(record->srv.target, name_text));
        else
            to += sprintf(to, "%d ", record->type);
    for (size_t i = 0; i < match.ptr_count; i++)
        to += sprintf(to, "%s ", dns_name_to_text(zone_ptr_name(&match, i), name_text));
    return out;
}

START_TEST(zone_of_a_plan)
{
    struct network network;
    struct plan plan;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    network_add_peer(&network, 2, "client");
    build(&network, 1, &plan);
    struct zone *zone = plan_zone(&plan, "heimdall", "router", 7, network_seed);
    ck_assert_ptr_nonnull(zone);
    ck_assert_uint_eq(zone_serial(zone), 7);
    ck_assert_str_eq(zone_text(zone, "client.heimdall"), "1 28 ");
    ck_assert_str_eq(zone_text(zone, "1.0.11.10.in-addr.arpa"), "router.heimdall. ");
    ck_assert_str_eq(zone_text(zone, "_domain._udp.heimdall"), "33:53:router.heimdall. ");
    ck_assert_str_eq(zone_text(zone, "_domain._tcp.heimdall"), "33:53:router.heimdall. ");
    ck_assert_str_eq(zone_text(zone, "_ldap._tcp.heimdall"), "");
    zone_put(zone);
    ck_assert_ptr_null(plan_zone(&plan, "not a name", "router", 7, network_seed));
    plan_fini(&plan);
    network_fini(&network);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("plan_zone");
    tcase_add_test(tc, zone_of_a_plan);
    return unit_run(tc);
}
