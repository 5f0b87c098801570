/* See followers.h. A follower's bytes are read into one shared buffer; only an unfinished rest is kept apart. */
#define _GNU_SOURCE
#include "followers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "feed.h"
#include "figures.h"
#include "token.h"

#define MOST 30000
#define BUFFER (1 << 20)
#define WINDOW (1u << 20) /* messages that may be under way */
#define MASK_KEY "\x37\xfa\x21\x3d"

enum State { CONNECTING, ASKED, GREETING, LIVE, GONE };

typedef struct {
    int fd;
    enum State state;
    uint32_t topic, rest, owed, ack_every;
    uint64_t seen, n;
    char *kept;
} Follower;

Followers followers;
static Follower all[MOST];
static uint32_t audience[MOST], passed[WINDOW];
static uint64_t complete;
static struct { int loop, port, is_websocket; uint32_t topics, lines; char **asks; } set;

static void read_asks(const char *path) {
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    if (!file) perror(path), exit(1);
    set.asks = calloc(MOST, sizeof *set.asks);
    for (ssize_t length; set.lines < MOST && (length = getline(&line, &room, file)) > 0;) {
        line[strcspn(line, "\n")] = 0;
        set.asks[set.lines++] = strdup(line);
    }
    free(line), fclose(file);
    if (!set.lines) fprintf(stderr, "%s is empty.\n", path), exit(1);
}

void followers_open(int loop, int port, const char *asks, int is_websocket, uint32_t topics) {
    set.loop = loop, set.port = port, set.is_websocket = is_websocket, set.topics = topics;
    read_asks(asks);
}

static void listen_for(uint32_t number, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.u64 = number};
    epoll_ctl(set.loop, how, all[number].fd, &event);
}

void followers_begin(void) {
    uint32_t number = followers.begun++;
    Follower *one = &all[number];
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)set.port)};
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (followers.begun > MOST) fprintf(stderr, "At most %d followers.\n", MOST), exit(1);
    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one->state = CONNECTING;
    one->topic = number % set.topics;
    if (one->fd < 0) perror("socket"), exit(1);
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(one->fd, (void *)&there, sizeof there) && errno != EINPROGRESS) perror("connect"), exit(1);
    listen_for(number, EPOLLOUT, EPOLL_CTL_ADD);
}

static void leave(Follower *one) {
    if (one->state == LIVE) followers.live--, audience[one->topic]--, figures.closed++;
    else followers.refused++;
    close(one->fd), free(one->kept);
    one->state = GONE, one->kept = NULL, one->rest = 0;
}

/* The newest message of a topic; 0 while there is none. */
static uint64_t newest_of(uint32_t topic) {
    uint64_t next = feed_published / set.topics * set.topics + topic + 1;
    return next <= feed_published ? next : next > set.topics ? next - set.topics : 0;
}

static void begin_to_follow(Follower *one) {
    one->seen = newest_of(one->topic); /* what was said before is as good as seen */
    one->state = LIVE, audience[one->topic]++;
    followers.live++, followers.live_ns = now_ns();
}

static void say(Follower *one, char opcode, const char *text, size_t length) {
    char frame[16 + 65536];
    size_t head = length < 126 ? 2 : 4;
    frame[0] = (char)(0x80 | opcode), frame[1] = (char)(0x80 | (length < 126 ? length : 126));
    if (head == 4) frame[2] = (char)(length >> 8), frame[3] = (char)length;
    memcpy(frame + head, MASK_KEY, 4);
    for (size_t i = 0; i < length; i++) frame[head + 4 + i] = text[i] ^ MASK_KEY[i % 4];
    if (send(one->fd, frame, head + 4 + length, MSG_NOSIGNAL) < 0 && errno != EAGAIN) leave(one);
}

static void ask(uint32_t number) {
    char request[20000], *path = set.asks[number % set.lines], *header = strchr(path, '\t') + 1;
    size_t path_length = strcspn(path, "\t"), header_length = strcspn(header, "\t");
    int length = snprintf(request, sizeof request, "GET %.*s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%.*s%s%s\r\n",
                          (int)path_length, path, set.port, (int)header_length, header, header_length ? "\r\n" : "",
                          set.is_websocket ? "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                           : "Accept: text/event-stream\r\n");
    if (send(all[number].fd, request, (size_t)length, MSG_NOSIGNAL) != length) return leave(&all[number]);
    all[number].state = ASKED;
    listen_for(number, EPOLLIN, EPOLL_CTL_MOD);
}

static const char *first_message(uint32_t number) { return strrchr(set.asks[number % set.lines], '\t') + 1; }

/* How many bytes of the answer's head there are at `bytes`; 0: not yet all, -1: it is a refusal. */
static ssize_t greeted(uint32_t number, const char *bytes, size_t length) {
    const char *end = memmem(bytes, length, "\r\n\r\n", 4), *message = first_message(number);
    if (!end) return 0;
    if (strncmp(bytes, "HTTP/1.1 ", 9) || strncmp(bytes + 9, set.is_websocket ? "101" : "200", 3)) return -1;
    if (*message) all[number].state = GREETING;
    else begin_to_follow(&all[number]);
    if (*message && set.is_websocket) say(&all[number], 1, message, strlen(message));
    return end + 4 - bytes;
}

static void pass(Follower *one, uint64_t seq) {
    if (seq <= one->seen) { figures.repeated++; return; }
    uint64_t next = one->seen ? one->seen + set.topics : one->topic + 1;
    figures.skipped += (seq - next) / set.topics;
    for (uint64_t each = next; each <= seq; each += set.topics)
        if (each > complete) passed[each % WINDOW]++;
    one->seen = seq;
}

/* All tokens within `text`; returns whether there was one. */
static int read_tokens(Follower *one, const char *text, size_t length) {
    const char *end = text + length, *at = text;
    uint64_t seq, at_ns, read_ns = 0;
    while ((at = memchr(at, '@', (size_t)(end - at))) && end - at >= TOKEN_LENGTH) {
        if (!get_token(at, &seq, &at_ns)) { at++; continue; }
        if (!read_ns) read_ns = now_ns();
        figures_deliver(at_ns, read_ns);
        pass(one, seq);
        at += TOKEN_LENGTH;
    }
    return read_ns != 0;
}

static void acknowledge(Follower *one) {
    char answer[64];
    one->owed = 0;
    say(one, 1, answer, (size_t)sprintf(answer, "{\"type\":\"ack\",\"n\":%llu}", (unsigned long long)one->n));
}

/* Telltale's flow control: its greeting says after how much text it wants an answer, and a numbered ping wants one. */
static void answer_for(Follower *one, const char *text, size_t length) {
    const char *every = one->ack_every ? NULL : memmem(text, length, "\"ack_every\":", 12);
    const char *n = memmem(text, length < 64 ? length : 64, "\"n\":", 4);
    if (every) one->ack_every = (uint32_t)strtoul(every + 12, NULL, 10);
    if (!one->ack_every || !n) return;
    one->n = strtoull(n + 4, NULL, 10), one->owed += (uint32_t)length;
    if (one->owed >= one->ack_every || memmem(text, length < 32 ? length : 32, "\"ping\"", 6)) acknowledge(one);
}

static void hear(Follower *one, int opcode, const char *text, size_t length) {
    if (opcode == 9) return say(one, 10, text, length);
    if (opcode == 8) return leave(one);
    if (opcode == 1 && length == 1 && *text == '2') return say(one, 1, "3", 1); /* Engine.IO's own ping */
    if (opcode > 2) return;
    if (one->state == GREETING) begin_to_follow(one), answer_for(one, text, length);
    else if (one->ack_every) answer_for(one, text, length);
    if (one->state == LIVE) figures.frames += (uint64_t)read_tokens(one, text, length);
}

/* Whole frames from the front of `bytes`; returns how many bytes they took. */
static size_t read_frames(Follower *one, const char *bytes, size_t length) {
    size_t at = 0;
    while (length - at >= 2 && one->state != GONE) {
        const uint8_t *head = (const uint8_t *)bytes + at;
        size_t size = head[1] & 127, begins = size < 126 ? 2 : size == 126 ? 4 : 10;
        if (length - at < begins) break;
        if (begins > 2) size = 0;
        for (size_t i = 2; i < begins; i++) size = size << 8 | head[i];
        if (length - at < begins + size) break;
        hear(one, head[0] & 15, bytes + at + begins, size);
        at += begins + size;
    }
    return at;
}

/* Whole events from the front of `bytes`, between chunks' heads if it is chunked: those hold no blank line. */
static size_t read_events(Follower *one, const char *bytes, size_t length) {
    size_t at = 0;
    for (const char *end; one->state != GONE && (end = memmem(bytes + at, length - at, "\n\n", 2));) {
        size_t size = (size_t)(end - bytes) + 2 - at;
        if (one->state == GREETING) begin_to_follow(one);
        figures.frames += (uint64_t)read_tokens(one, bytes + at, size);
        at += size;
    }
    return at;
}

static void keep(Follower *one, const char *bytes, size_t length) {
    if (length) memcpy(one->kept = realloc(one->kept, length), bytes, length);
    one->rest = (uint32_t)length;
}

static void take_in(uint32_t number) {
    static char bytes[BUFFER + 1];
    Follower *one = &all[number];
    if (one->rest) memcpy(bytes, one->kept, one->rest);
    ssize_t got = read(one->fd, bytes + one->rest, BUFFER - one->rest), used = 0;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return leave(one);
    figures.bytes += (uint64_t)got;
    size_t length = one->rest + (size_t)got;
    bytes[length] = 0;
    if (one->state == ASKED && (used = greeted(number, bytes, length)) < 0) return leave(one);
    size_t (*read_whole)(Follower *, const char *, size_t) = set.is_websocket ? read_frames : read_events;
    if (one->state > ASKED) used += (ssize_t)read_whole(one, bytes + used, length - (size_t)used);
    if (one->state != GONE) keep(one, bytes + used, length - (size_t)used);
}

void followers_serve(uint32_t number, uint32_t events) {
    int error = 0;
    socklen_t size = sizeof error;
    if (all[number].state == GONE) return;
    if (all[number].state != CONNECTING) return take_in(number);
    getsockopt(all[number].fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error || !(events & EPOLLOUT)) return leave(&all[number]);
    ask(number);
}

uint64_t followers_complete(void) {
    for (; complete < feed_published && passed[(complete + 1) % WINDOW] >= audience[complete % set.topics]; complete++)
        passed[(complete + 1) % WINDOW] = 0;
    return complete;
}

uint32_t followers_up_to_date(void) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < followers.begun; i++) count += all[i].state == LIVE && all[i].seen >= newest_of(all[i].topic);
    return count;
}

void followers_forgive(void) {
    memset(passed, 0, sizeof passed);
    complete = feed_published;
}
