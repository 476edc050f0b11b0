#include "wg/index.h"

#include "fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

/* The index table against a plain array. Indices are spread so that many fall into one place. */

enum { INDICES = 1024 };

static void *model[INDICES];
static uint8_t things[256];

static uint32_t spread(size_t place)
{
    return (uint32_t)(place % 32) + (uint32_t)(place / 32) * 0x08000000u;
}

static void check_all(const struct index_table *table)
{
    size_t live = 0;
    for (size_t i = 0; i < INDICES; i++) {
        require(index_lookup(table, spread(i)) == model[i]);
        live += model[i] != NULL;
    }
    require(table->live == live);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct index_table table;
    struct garbage garbage;
    memset(model, 0, sizeof model);
    index_table_init(&table);
    garbage_init(&garbage);
    while (input_has(&input)) {
        uint8_t what = input_byte(&input);
        size_t place = (size_t)input_number(&input, 2) % INDICES;
        void *thing = &things[what];
        switch (what % 8) {
        case 0:
        case 1:
        case 2: {
            int expected = model[place] != NULL ? -EEXIST : 0;
            require(index_insert(&table, spread(place), thing, &garbage) == expected);
            if (expected == 0)
                model[place] = thing;
            break;
        }
        case 3:
        case 4:
            require(index_remove(&table, spread(place)) == model[place]);
            model[place] = NULL;
            break;
        case 5:
            require(index_replace(&table, spread(place), thing) == model[place]);
            if (model[place] != NULL)
                model[place] = thing;
            break;
        case 6: /* a row of them */
            for (size_t i = 0; i < 16; i++, place = (place + 32) % INDICES) {
                if (index_insert(&table, spread(place), thing, &garbage) == 0) {
                    require(model[place] == NULL);
                    model[place] = thing;
                }
            }
            break;
        case 7:
            garbage_free(garbage_take(&garbage));
            break;
        }
        require(index_lookup(&table, spread(place)) == model[place]);
    }
    check_all(&table);
    garbage_free(garbage_take(&garbage));
    index_table_fini(&table);
    return 0;
}
