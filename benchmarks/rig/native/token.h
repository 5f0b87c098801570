/* The token by which a message is found in any server's envelope: `@` sequence number `@` nanoseconds `@`.
 *
 * Both numbers have a fixed width (10 and 19 digits), so that the publisher can write them into recorded bytes. The
 * token contains no quote and no backslash, so no encoding changes it.
 */
#ifndef TOKEN_H
#define TOKEN_H

#include <stddef.h>
#include <stdint.h>

#define TOKEN_SEQ_AT 1
#define TOKEN_SEQ_DIGITS 10
#define TOKEN_NS_AT 12
#define TOKEN_NS_DIGITS 19
#define TOKEN_LENGTH 32
#define TOKEN_BLANK "@0000000000@0000000000000000000@"

static inline void put_digits(char *at, int digits, uint64_t value) {
    while (digits-- > 0) at[digits] = (char)('0' + value % 10), value /= 10;
}

static inline int get_digits(const char *at, int digits, uint64_t *value) {
    *value = 0;
    for (int i = 0; i < digits; i++) {
        if (at[i] < '0' || at[i] > '9') return 0;
        *value = 10 * *value + (uint64_t)(at[i] - '0');
    }
    return 1;
}

/* Whether a token begins at `at`, which TOKEN_LENGTH characters follow. */
static inline int get_token(const char *at, uint64_t *seq, uint64_t *ns) {
    return at[0] == '@' && at[TOKEN_NS_AT - 1] == '@' && at[TOKEN_LENGTH - 1] == '@' &&
           get_digits(at + TOKEN_SEQ_AT, TOKEN_SEQ_DIGITS, seq) && get_digits(at + TOKEN_NS_AT, TOKEN_NS_DIGITS, ns);
}

#endif
