#include "fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The main of a harness that is built without libFuzzer: runs the files that are named, and those
 * in the folders that are named. Running none is a failure. */

static size_t runs;

static int run_file(const char *path)
{
    struct stat info;
    FILE *file = fopen(path, "rb");
    if (file == NULL || fstat(fileno(file), &info) != 0) {
        perror(path);
        if (file != NULL)
            fclose(file);
        return -1;
    }
    /* exactly as long as the input, so that a read past its end is seen */
    size_t len = (size_t)info.st_size;
    uint8_t *bytes = malloc(len > 0 ? len : 1);
    bool whole = bytes != NULL && fread(bytes, 1, len, file) == len;
    fclose(file);
    if (whole) {
        fprintf(stderr, "%s\n", path); /* the last line names the input that failed */
        (void)LLVMFuzzerTestOneInput(bytes, len);
        runs++;
    }
    free(bytes);
    return whole ? 0 : -1;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int run_path(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return run_file(path);
    struct dirent **entries;
    int count = scandir(path, &entries, is_visible, alphasort);
    int result = count < 0 ? -1 : 0;
    for (int i = 0; i < count; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        if (run_file(name) != 0)
            result = -1;
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return result;
}

int main(int argc, char **argv)
{
    int result = 0;
    for (int i = 1; i < argc; i++) {
        if (run_path(argv[i]) != 0)
            result = -1;
    }
    printf("%zu inputs\n", runs);
    return result == 0 && runs > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
