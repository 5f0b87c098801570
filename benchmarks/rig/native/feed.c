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
#define HOLES 16
#define OUT_BYTES (8 << 20)

typedef struct { const char *blank; size_t at[HOLES]; int count; } Holes;

uint64_t feed_published;
static uint32_t topic_count;
static int line;
static char sample[65536], out[OUT_BYTES];
static size_t sample_length, waiting, sent;
static Holes tokens = {.blank = TOKEN_BLANK}, names = {.blank = TOPIC_BLANK}, orders = {.blank = ORDER_BLANK};

static void find(Holes *holes) {
    size_t length = strlen(holes->blank);
    for (char *from = sample; (from = memmem(from, sample_length - (size_t)(from - sample), holes->blank, length));
         from += length)
        if (holes->count < HOLES) holes->at[holes->count++] = (size_t)(from - sample);
}

static void read_sample(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || !(sample_length = fread(sample, 1, sizeof sample, file))) perror(path), exit(1);
    fclose(file);
    find(&tokens), find(&names), find(&orders);
    if (!tokens.count) fprintf(stderr, "%s holds no %s.\n", path, TOKEN_BLANK), exit(1);
}

static int connected(const char *address) {
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
    if ((line = connected(address)) < 0) perror(address), exit(1);
    return line;
}

static void fill(const Holes *holes, char *message, size_t skip, int digits, uint64_t value) {
    for (int i = 0; i < holes->count; i++) put_digits(message + holes->at[i] + skip, digits, value);
}

void feed_publish(void) {
    if (waiting + sample_length > OUT_BYTES) fprintf(stderr, "The feed does not take what is said.\n"), exit(1);
    char *message = out + waiting;
    memcpy(message, sample, sample_length);
    fill(&names, message, 3, 5, feed_published % topic_count);
    feed_published++;
    fill(&orders, message, 0, 10, ORDER_BASE + feed_published);
    fill(&tokens, message, TOKEN_SEQ_AT, TOKEN_SEQ_DIGITS, feed_published);
    fill(&tokens, message, TOKEN_NS_AT, TOKEN_NS_DIGITS, now_ns());
    waiting += sample_length;
}

int feed_flush(void) {
    while (sent < waiting) {
        ssize_t taken = send(line, out + sent, waiting - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken < 0 && errno == EAGAIN) return 1;
        if (taken <= 0) perror("The feed is gone"), exit(1);
        sent += (size_t)taken;
    }
    sent = waiting = 0;
    return 0;
}

void feed_drain(void) {
    char answers[65536];
    if (recv(line, answers, sizeof answers, MSG_DONTWAIT) == 0) fprintf(stderr, "The feed has closed.\n"), exit(1);
}
