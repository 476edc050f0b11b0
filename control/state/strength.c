#include "control/state/strength.h"

#include "base/bytes.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

/* The text is read from left to right, as the cheapest of: a repetition of what was there before, a
 * run (1234, qwerty, qaz), letters that look like words, a date, a single character of the alphabet
 * in use. Costs are in 1/100 bit. */

enum {
    TEXT_MAX = 128,
    REPEAT_COST = 600,
    RUN_COST = 800,
    WORD_COST = 200, /* and for each letter: */
    WORD_LETTER_COST = 160,
    YEAR_COST = 700,
    DATE_COST = 1500,
    REPEAT_MIN = 4,
    REPEAT_MIN_HEX = 6, /* shorter ones occur by chance among 16 digits */
    WORD_MIN = 4,
    WORDS_MIN_PERCENT = 40, /* of the text; fewer occur by chance */
};

struct text {
    char plain[TEXT_MAX + 1]; /* letters and digits, '+' and '/': separators are predictable */
    char lower[TEXT_MAX + 1];
    size_t len;
    unsigned char_cost;
    bool is_hex;
    bool is_decimal;
};

/* How much likelier the second letter of a pair is in words than by chance, log2 in halves, 'j' for
 * 0. Counted in English texts, names of places, and words written without spaces. */
static const char pairs[26][27] = {
    "cjljcficjbgnjmbibnknhgechb", "mdednbabmgaofclfaljfmecaha", "naidnbalkakkdbocaifmjaaada",
    "lgijohgfodcjihkibikijfgaga", "kekmiihegacjjmeienmjehfjea", "lcfdmmbboaajdcndakgjkbcaia",
    "mfihoghkmcejikkiclkhlefaea", "odgfpddcnadfffnfaihjhcdafa", "jiljjiiabadkjpmhailmbiadag",
    "ngggmgggjgggiglhggigpggggg", "mghgpfehmdehhkjhcimhidgchd", "mefiogdcnabmfcmgafjijfdama",
    "ojffodabmaaejelmaejiibbaca", "lelmmhndkafgfgkgafmnhgdafa", "ghjjfggcgafjloikanjklijbca",
    "nafdoadgkaamdbmkanhkjcbaga", "ifgfffffifffgfhggggipfffgf", "mfiipfhdmahijilhajkkhfeaia",
    "kfkgngejmagihgkkbhlnldgaga", "ldifofcmoabifdkgalkjjbgaia", "kkjhkfhajaclknfjammnccabac",
    "ncedpecbnbbdgdjcbdfdcbcbbb", "odfemfcnocchekmebkkfdcgbcb", "lgmgmhehmdefgeeodfgneefdid",
    "kikiliggldfjkjmldkmkhfibff", "nhggpgfhkffghhkhfgigifgfii"};

static int pair_weight(char first, char second)
{
    return pairs[first - 'a'][second - 'a'] - 'j';
}

/* The smallest usual alphabet that holds every character. */
static unsigned alphabet_cost(const char *text)
{
    bool digit = false;
    bool hex = false;
    bool lower = false;
    bool upper = false;
    bool symbol = false;
    for (const char *c = text; *c != '\0'; c++) {
        digit |= *c >= '0' && *c <= '9';
        hex |= (*c >= 'a' && *c <= 'f') || (*c >= 'A' && *c <= 'F');
        lower |= *c >= 'g' && *c <= 'z';
        upper |= *c >= 'G' && *c <= 'Z';
        symbol |= *c == '+' || *c == '/';
    }
    if ((lower && upper) || symbol)
        return 595; /* 62 characters */
    if (lower || upper)
        return digit ? 517 : 470; /* 36, 26 */
    return hex ? 400 : digit ? 332 : 0;
}

static void text_init(struct text *text, const char *in)
{
    size_t digits = 0;
    *text = (struct text){.is_hex = true};
    for (; *in != '\0' && text->len < TEXT_MAX; in++) {
        if (!isalnum((unsigned char)*in) && *in != '+' && *in != '/')
            continue;
        text->plain[text->len] = *in;
        text->lower[text->len++] = (char)tolower((unsigned char)*in);
        text->is_hex &= isxdigit((unsigned char)*in) != 0;
        digits += isdigit((unsigned char)*in) != 0;
    }
    text->is_hex &= digits * 5 >= text->len;
    text->is_decimal = digits == text->len;
    text->char_cost = alphabet_cost(text->plain);
}

/* The longest repetition of earlier characters, which may overlap it; 0: too short. */
static size_t repeat_at(const struct text *text, size_t at)
{
    size_t best = 0;
    for (size_t from = 0; from < at; from++) {
        size_t len = 0;
        while (at + len < text->len && text->lower[from + len] == text->lower[at + len])
            len++;
        best = len > best ? len : best;
    }
    return best >= (text->is_hex ? REPEAT_MIN_HEX : REPEAT_MIN) ? best : 0;
}

/* The step between two keys that are neighbors in one row or slanted column; 0: they are not. */
static int key_step(char a, char b)
{
    static const char *const lines[] = {"qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890", "1qaz",
                                        "2wsx",       "3edc",      "4rfv",    "5tgb",       "6yhn",
                                        "7ujm",       "8ik",       "9ol"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const char *first = strchr(lines[i], a);
        const char *second = strchr(lines[i], b);
        if (first != NULL && second != NULL && (second - first == 1 || second - first == -1))
            return (int)(second - first);
    }
    return 0;
}

static size_t run_of_codes(const struct text *text, size_t at)
{
    const char *c = text->lower + at;
    size_t len = 2;
    int step = c[1] - c[0];
    if (at + 1 >= text->len || step < -1 || step > 1)
        return 0;
    while (at + len < text->len && c[len] - c[len - 1] == step)
        len++;
    return len >= 4 ? len : 0;
}

static size_t run_of_keys(const struct text *text, size_t at)
{
    const char *c = text->lower + at;
    size_t len = 2;
    int step = at + 1 < text->len ? key_step(c[0], c[1]) : 0;
    if (step == 0)
        return 0;
    while (at + len < text->len && key_step(c[len - 1], c[len]) == step)
        len++;
    return len >= 3 ? len : 0;
}

static size_t run_at(const struct text *text, size_t at)
{
    size_t codes = run_of_codes(text, at);
    size_t keys = run_of_keys(text, at);
    return codes > keys ? codes : keys;
}

/* Letters whose cases are those of words: all alike, Capitalized or CamelCase. */
static size_t letters_at(const struct text *text, size_t at)
{
    size_t len = 0;
    size_t piece = 0;
    while (at + len < text->len && isalpha((unsigned char)text->plain[at + len])) {
        bool upper = isupper((unsigned char)text->plain[at + len]) != 0;
        bool was_upper = len > 0 ? isupper((unsigned char)text->plain[at + len - 1]) != 0 : upper;
        if (upper && !was_upper) {
            if (piece < 3)
                return len;
            piece = 0;
        } else if (!upper && was_upper && piece > 1) {
            return len;
        }
        piece++;
        len++;
    }
    return len;
}

/* The longest start of the letters that follow which is likelier in words than by chance; 0: none. */
static size_t words_at(const struct text *text, size_t at)
{
    size_t letters = letters_at(text, at);
    size_t best = 0;
    int weight = 0;
    for (size_t i = 1; i < letters; i++) {
        weight += pair_weight(text->lower[at + i - 1], text->lower[at + i]);
        /* 2.5 bits and 0.45 bit a letter */
        if (i + 1 >= WORD_MIN && weight * 10 >= 50 + 9 * (int)(i + 1))
            best = i + 1;
    }
    return best;
}

static int number(const char *digits)
{
    return (digits[0] - '0') * 10 + digits[1] - '0';
}

static bool is_date(const char *digits)
{
    int month = number(digits + 4);
    int day = number(digits + 6);
    return month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

/* A year or a date that begins with one. Between letters it must be all digits that stand there, as
 * others occur by chance; among digits alone, dates may follow one another. */
static size_t date_at(const struct text *text, size_t at)
{
    const char *c = text->lower + at;
    size_t len = 0;
    while (at + len < text->len && isdigit((unsigned char)c[len]))
        len++;
    if (len < 4 || (number(c) != 19 && number(c) != 20))
        return 0;
    if (text->is_decimal)
        return len >= 8 && is_date(c) ? 8 : 0;
    if (text->is_hex || (at > 0 && isdigit((unsigned char)c[-1])))
        return 0;
    return len == 4 || (len == 8 && is_date(c)) ? len : 0;
}

/* The cost of the text. *in_words gets the number of letters that were read as words. */
static unsigned cost_of(const struct text *text, bool use_words, size_t *in_words)
{
    unsigned cost = 0;
    size_t len;
    *in_words = 0;
    for (size_t at = 0; at < text->len; at += len) {
        if ((len = repeat_at(text, at)) > 0) {
            cost += REPEAT_COST;
        } else if ((len = run_at(text, at)) > 0) {
            cost += RUN_COST;
        } else if (use_words && !text->is_hex && (len = words_at(text, at)) > 0) {
            cost += WORD_COST + WORD_LETTER_COST * (unsigned)len;
            *in_words += len;
        } else if ((len = date_at(text, at)) > 0) {
            cost += len == 4 ? YEAR_COST : DATE_COST;
        } else {
            len = 1;
            cost += text->char_cost;
        }
    }
    return cost;
}

unsigned strength_bits(const char *in)
{
    struct text text;
    size_t in_words;
    text_init(&text, in);
    unsigned cost = cost_of(&text, true, &in_words);
    if (in_words * 100 < text.len * WORDS_MIN_PERCENT)
        cost = cost_of(&text, false, &in_words);
    bytes_wipe(&text, sizeof text);
    return cost / 100;
}
