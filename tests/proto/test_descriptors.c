#include "proto/descriptors.h"

#include "proto/google/protobuf/descriptor.pb-c.h"
#include "tests/unit.h"

#include <string.h>

#define API "dev.ehazlett.heimdall.api.v1."

static struct descriptors *descriptors;

static void setup(void)
{
    ck_assert_int_eq(descriptors_create(&descriptors), 0);
}

static void teardown(void)
{
    descriptors_destroy(descriptors);
}

static const struct {
    const char *symbol;
    const char *file; /* NULL: there is none */
    bool is_message;
} symbols[] = {
    {API "Heimdall", "heimdall.proto", false},
    {API "Heimdall.Connect", "heimdall.proto", false},
    {API "Heimdall.Connec", NULL, false},
    {API "Heimdall.Connect.x", NULL, false},
    {API "Node", "heimdall.proto", true},
    {API "Node.id", "heimdall.proto", false},
    {API "Node.nothing", NULL, false},
    {API "Nod", NULL, false},
    {"dev.ehazlett.heimdall.api.v1", NULL, false},
    {"dev", NULL, false},
    {"", NULL, false},
    {".", NULL, false},
    {"heimdall.v1.Cluster", "cluster.proto", false},
    {"heimdall.v1.Cluster.Watch", "cluster.proto", false},
    {"heimdall.v1.Event", "cluster.proto", true},
    {"heimdall.v1.", NULL, false},
    {"google.protobuf.Empty", "google/protobuf/empty.proto", true},
    {"grpc.health.v1.HealthCheckResponse.ServingStatus", "health.proto", false},
    {"grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING", "health.proto", false},
    {"grpc.health.v1.HealthCheckResponse.SERVING", NULL, false},
    {"grpc.reflection.v1.ServerReflection", "reflection_v1.proto", false},
    {"grpc.reflection.v1alpha.ServerReflection", "reflection_v1alpha.proto", false},
};

START_TEST(by_symbol)
{
    const struct descriptors_file *file = descriptors_by_symbol(descriptors, symbols[_i].symbol);
    if (symbols[_i].file == NULL)
        ck_assert_msg(file == NULL, "%s", symbols[_i].symbol);
    else
        ck_assert_str_eq(file != NULL ? file->name : "none", symbols[_i].file);
    ck_assert_int_eq(descriptors_is_message(descriptors, symbols[_i].symbol),
                     symbols[_i].is_message);
}
END_TEST

START_TEST(by_name)
{
    const struct descriptors_file *file = descriptors_by_name(descriptors, "cluster.proto");
    ck_assert_ptr_nonnull(file);
    Google__Protobuf__FileDescriptorProto *pb =
        google__protobuf__file_descriptor_proto__unpack(NULL, file->len, file->bytes);
    ck_assert_ptr_nonnull(pb);
    ck_assert_str_eq(pb->package, "heimdall.v1");
    google__protobuf__file_descriptor_proto__free_unpacked(pb, NULL);
    ck_assert_ptr_null(descriptors_by_name(descriptors, "cluster"));
    ck_assert_ptr_null(descriptors_by_name(descriptors, ""));
}
END_TEST

/* Each once, though two files import the same. */
START_TEST(with_imports)
{
    static const char *const expected[] = {"cluster.proto", "google/protobuf/empty.proto",
                                           "google/protobuf/timestamp.proto", "heimdall.proto"};
    const struct descriptors_file *files[DESCRIPTORS_FILES_MAX];
    size_t count = descriptors_with_imports(
        descriptors, descriptors_by_name(descriptors, "cluster.proto"), files);
    ck_assert_uint_eq(count, ARRAY_LEN(expected));
    for (size_t i = 0; i < count; i++)
        ck_assert_str_eq(files[i]->name, expected[i]);
}
END_TEST

START_TEST(services)
{
    static const char *const expected[] = {
        API "Heimdall", "heimdall.v1.Cluster", "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"};
    ck_assert_uint_eq(descriptors_service_count(descriptors), ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        ck_assert_str_eq(descriptors_service_at(descriptors, i), expected[i]);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("descriptors");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, by_symbol, 0, (int)ARRAY_LEN(symbols));
    tcase_add_test(tc, by_name);
    tcase_add_test(tc, with_imports);
    tcase_add_test(tc, services);
    return unit_run(tc);
}
