/* See feed.h. */
#define _GNU_SOURCE
#include "feed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "figures.h"
#include "token.h"

#define TOPIC_BLANK "tab00000"
#define ORDER_BLANK "1000000000"
#define ORDER_BASE 1000000000
#define MAX_BLANKS 16
#define OUT_BYTES (8 << 20)

typedef struct { const char *text; size_t at[MAX_BLANKS]; int count; } Blanks;

uint64_t feed_published;
static uint32_t topic_count;
static int connection;
static char sample[65536], out[OUT_BYTES];
static size_t sample_length, queued, sent;
static Blanks tokens = {.text = TOKEN_BLANK}, topic_names = {.text = TOPIC_BLANK}, orders = {.text = ORDER_BLANK};

static void fail(const char *reason) { fprintf(stderr, "%s\n", reason), exit(1); }

static void find(Blanks *blanks) {
    size_t length = strlen(blanks->text);
    for (char *from = sample; (from = memmem(from, sample_length - (size_t)(from - sample), blanks->text, length));
         from += length)
        if (blanks->count < MAX_BLANKS) blanks->at[blanks->count++] = (size_t)(from - sample);
}

static void read_sample(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || !(sample_length = fread(sample, 1, sizeof sample, file))) perror(path), exit(1);
    fclose(file);
    find(&tokens), find(&topic_names), find(&orders);
    if (!tokens.count) fprintf(stderr, "%s contains no %s.\n", path, TOKEN_BLANK), exit(1);
}

static int connect_to(const char *address) {
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    struct sockaddr_in host = {.sin_family = AF_INET};
    char name[64] = "";
    int port = 0, fd;
    if (sscanf(address, "tcp:%63[^:]:%d", name, &port) == 2) {
        host.sin_port = htons((uint16_t)port);
        inet_pton(AF_INET, name, &host.sin_addr);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        return connect(fd, (void *)&host, sizeof host) ? -1 : fd;
    }
    if (strncmp(address, "unix:", 5)) return -1;
    strncpy(path.sun_path, address + 5, sizeof path.sun_path - 1);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return connect(fd, (void *)&path, sizeof path) ? -1 : fd;
}

int feed_open(const char *address, const char *path, uint32_t topics) {
    topic_count = topics;
    read_sample(path);
    if ((connection = connect_to(address)) < 0) perror(address), exit(1);
    return connection;
}

static void fill(const Blanks *blanks, char *message, size_t skip, int digits, uint64_t value) {
    for (int i = 0; i < blanks->count; i++) put_digits(message + blanks->at[i] + skip, digits, value);
}

void feed_publish(void) {
    if (queued + sample_length > OUT_BYTES) fail("The server does not read its messages fast enough.");
    char *message = out + queued;
    memcpy(message, sample, sample_length);
    fill(&topic_names, message, 3, 5, feed_published % topic_count);
    feed_published++;
    fill(&orders, message, 0, 10, ORDER_BASE + feed_published);
    fill(&tokens, message, TOKEN_SEQ_AT, TOKEN_SEQ_DIGITS, feed_published);
    fill(&tokens, message, TOKEN_NS_AT, TOKEN_NS_DIGITS, now_ns());
    queued += sample_length;
}

int feed_flush(void) {
    while (sent < queued) {
        ssize_t written = send(connection, out + sent, queued - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (written < 0 && errno == EAGAIN) return 1;
        if (written <= 0) perror("The feed has failed"), exit(1);
        sent += (size_t)written;
    }
    sent = queued = 0;
    return 0;
}

void feed_drain(void) {
    char answers[65536];
    if (recv(connection, answers, sizeof answers, MSG_DONTWAIT) == 0) fail("The feed was closed.");
}
