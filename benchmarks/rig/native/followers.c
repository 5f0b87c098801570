/* See followers.h. All followers read into one shared buffer; only the rest of an incomplete frame is stored. */
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

#define MAX_FOLLOWERS 30000
#define BUFFER (1 << 20)
#define WINDOW (1u << 20) /* the most messages in flight */
#define MASK_KEY "\x37\xfa\x21\x3d"

enum State { CONNECTING, REQUESTED, GREETING, LIVE, CLOSED };

typedef struct {
    int fd;
    enum State state;
    uint32_t topic, rest_length, unacknowledged, ack_every; /* the last two in bytes of text */
    uint64_t newest, n;
    char *rest;
} Follower;

Followers followers;
static Follower all[MAX_FOLLOWERS];
static uint32_t follower_count[MAX_FOLLOWERS], read_count[WINDOW];
static uint64_t complete;
static struct { int loop, port, is_websocket; uint32_t topics, lines; char **handshakes; } options;

static void read_handshakes(const char *path) {
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t capacity = 0;
    if (!file) perror(path), exit(1);
    options.handshakes = calloc(MAX_FOLLOWERS, sizeof *options.handshakes);
    for (ssize_t length; options.lines < MAX_FOLLOWERS && (length = getline(&line, &capacity, file)) > 0;) {
        line[strcspn(line, "\n")] = 0;
        options.handshakes[options.lines++] = strdup(line);
    }
    free(line), fclose(file);
    if (!options.lines) fprintf(stderr, "%s is empty.\n", path), exit(1);
}

void followers_open(int loop, int port, const char *handshakes, int is_websocket, uint32_t topics) {
    options.loop = loop, options.port = port, options.is_websocket = is_websocket, options.topics = topics;
    read_handshakes(handshakes);
}

static void watch(uint32_t number, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.u64 = number};
    epoll_ctl(options.loop, operation, all[number].fd, &event);
}

void followers_begin(void) {
    uint32_t number = followers.begun++;
    Follower *follower = &all[number];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (followers.begun > MAX_FOLLOWERS) fprintf(stderr, "At most %d followers.\n", MAX_FOLLOWERS), exit(1);
    follower->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), follower->state = CONNECTING;
    follower->topic = number % options.topics;
    if (follower->fd < 0) perror("socket"), exit(1);
    setsockopt(follower->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(follower->fd, (void *)&address, sizeof address) && errno != EINPROGRESS) perror("connect"), exit(1);
    watch(number, EPOLLOUT, EPOLL_CTL_ADD);
}

static void disconnect(Follower *follower) {
    if (follower->state == LIVE) followers.live--, follower_count[follower->topic]--, figures.closed++;
    else followers.refused++;
    close(follower->fd), free(follower->rest);
    follower->state = CLOSED, follower->rest = NULL, follower->rest_length = 0;
}

/* The newest message of a topic; 0: none yet. */
static uint64_t newest_of(uint32_t topic) {
    uint64_t next = feed_published / options.topics * options.topics + topic + 1;
    return next <= feed_published ? next : next > options.topics ? next - options.topics : 0;
}

static void begin_to_follow(Follower *follower) {
    follower->newest = newest_of(follower->topic); /* earlier messages count as read */
    follower->state = LIVE, follower_count[follower->topic]++;
    followers.live++, followers.live_ns = now_ns();
}

static void send_frame(Follower *follower, char opcode, const char *text, size_t length) {
    char frame[16 + 65536];
    size_t head = length < 126 ? 2 : 4;
    frame[0] = (char)(0x80 | opcode), frame[1] = (char)(0x80 | (length < 126 ? length : 126));
    if (head == 4) frame[2] = (char)(length >> 8), frame[3] = (char)length;
    memcpy(frame + head, MASK_KEY, 4);
    for (size_t i = 0; i < length; i++) frame[head + 4 + i] = text[i] ^ MASK_KEY[i % 4];
    if (send(follower->fd, frame, head + 4 + length, MSG_NOSIGNAL) < 0 && errno != EAGAIN) disconnect(follower);
}

static void send_request(uint32_t number) {
    static const char websocket[] = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    char request[20000], *path = options.handshakes[number % options.lines], *header = strchr(path, '\t') + 1;
    size_t path_length = strcspn(path, "\t"), header_length = strcspn(header, "\t");
    int length = snprintf(request, sizeof request, "GET %.*s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%.*s%s%s\r\n",
                          (int)path_length, path, options.port, (int)header_length, header, header_length ? "\r\n" : "",
                          options.is_websocket ? websocket : "Accept: text/event-stream\r\n");
    if (send(all[number].fd, request, (size_t)length, MSG_NOSIGNAL) != length) return disconnect(&all[number]);
    all[number].state = REQUESTED;
    watch(number, EPOLLIN, EPOLL_CTL_MOD);
}

static const char *first_message(uint32_t number) {
    return strrchr(options.handshakes[number % options.lines], '\t') + 1;
}

/* Handle the answer to the request. Returns the length of its head; 0: incomplete, -1: refused. */
static ssize_t read_answer(uint32_t number, const char *bytes, size_t length) {
    const char *end = memmem(bytes, length, "\r\n\r\n", 4), *message = first_message(number);
    if (!end) return 0;
    if (strncmp(bytes, "HTTP/1.1 ", 9) || strncmp(bytes + 9, options.is_websocket ? "101" : "200", 3)) return -1;
    if (*message) all[number].state = GREETING;
    else begin_to_follow(&all[number]);
    if (*message && options.is_websocket) send_frame(&all[number], 1, message, strlen(message));
    return end + 4 - bytes;
}

static void count_message(Follower *follower, uint64_t seq) {
    if (seq <= follower->newest) { figures.repeated++; return; }
    uint64_t next = follower->newest ? follower->newest + options.topics : follower->topic + 1;
    figures.skipped += (seq - next) / options.topics;
    for (uint64_t each = next; each <= seq; each += options.topics)
        if (each > complete) read_count[each % WINDOW]++;
    follower->newest = seq;
}

/* Count all tokens within `text`; returns whether there was one. */
static int read_tokens(Follower *follower, const char *text, size_t length) {
    const char *end = text + length, *at = text;
    uint64_t seq, sent_ns, read_ns = 0;
    while ((at = memchr(at, '@', (size_t)(end - at))) && end - at >= TOKEN_LENGTH) {
        if (!get_token(at, &seq, &sent_ns)) { at++; continue; }
        if (!read_ns) read_ns = now_ns();
        figures_count(sent_ns, read_ns);
        count_message(follower, seq);
        at += TOKEN_LENGTH;
    }
    return read_ns != 0;
}

static void acknowledge(Follower *follower) {
    char answer[64];
    int length = sprintf(answer, "{\"type\":\"ack\",\"n\":%llu}", (unsigned long long)follower->n);
    follower->unacknowledged = 0;
    send_frame(follower, 1, answer, (size_t)length);
}

/* Telltale's flow control: its greeting says after how many bytes of text it expects an acknowledgement; a numbered
 * ping expects one at once. */
static void acknowledge_if_due(Follower *follower, const char *text, size_t length) {
    const char *every = follower->ack_every ? NULL : memmem(text, length, "\"ack_every\":", 12);
    const char *n = memmem(text, length < 64 ? length : 64, "\"n\":", 4);
    if (every) follower->ack_every = (uint32_t)strtoul(every + 12, NULL, 10);
    if (!follower->ack_every || !n) return;
    follower->n = strtoull(n + 4, NULL, 10), follower->unacknowledged += (uint32_t)length;
    int is_ping = memmem(text, length < 32 ? length : 32, "\"ping\"", 6) != NULL;
    if (is_ping || follower->unacknowledged >= follower->ack_every) acknowledge(follower);
}

static void handle_frame(Follower *follower, int opcode, const char *text, size_t length) {
    if (opcode == 9) return send_frame(follower, 10, text, length);
    if (opcode == 8) return disconnect(follower);
    if (opcode == 1 && length == 1 && *text == '2') return send_frame(follower, 1, "3", 1); /* Engine.IO's ping */
    if (opcode > 2) return;
    if (follower->state == GREETING && memmem(text, length, "pusher:connection_established", 29)) return;
    if (follower->state == GREETING) begin_to_follow(follower), acknowledge_if_due(follower, text, length);
    else if (follower->ack_every) acknowledge_if_due(follower, text, length);
    if (follower->state == LIVE) figures.frames += (uint64_t)read_tokens(follower, text, length);
}

/* Handle all complete frames in `bytes`; returns their length. */
static size_t read_frames(Follower *follower, const char *bytes, size_t length) {
    size_t at = 0;
    while (length - at >= 2 && follower->state != CLOSED) {
        const uint8_t *head = (const uint8_t *)bytes + at;
        size_t size = head[1] & 127, begins = size < 126 ? 2 : size == 126 ? 4 : 10;
        if (length - at < begins) break;
        if (begins > 2) size = 0;
        for (size_t i = 2; i < begins; i++) size = size << 8 | head[i];
        if (length - at < begins + size) break;
        handle_frame(follower, head[0] & 15, bytes + at + begins, size);
        at += begins + size;
    }
    return at;
}

/* Handle all complete events in `bytes`; returns their length. Heads of HTTP chunks may be between the events; they
 * contain no blank line. */
static size_t read_events(Follower *follower, const char *bytes, size_t length) {
    size_t at = 0;
    for (const char *end; follower->state != CLOSED && (end = memmem(bytes + at, length - at, "\n\n", 2));) {
        size_t size = (size_t)(end - bytes) + 2 - at;
        if (follower->state == GREETING) begin_to_follow(follower);
        figures.frames += (uint64_t)read_tokens(follower, bytes + at, size);
        at += size;
    }
    return at;
}

static void store_rest(Follower *follower, const char *bytes, size_t length) {
    if (length) memcpy(follower->rest = realloc(follower->rest, length), bytes, length);
    follower->rest_length = (uint32_t)length;
}

static void read_available(uint32_t number) {
    static char bytes[BUFFER + 1];
    Follower *follower = &all[number];
    if (follower->rest_length) memcpy(bytes, follower->rest, follower->rest_length);
    ssize_t got = read(follower->fd, bytes + follower->rest_length, BUFFER - follower->rest_length), used = 0;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return disconnect(follower);
    figures.bytes += (uint64_t)got;
    size_t length = follower->rest_length + (size_t)got;
    bytes[length] = 0;
    if (follower->state == REQUESTED && (used = read_answer(number, bytes, length)) < 0) return disconnect(follower);
    size_t (*read_complete)(Follower *, const char *, size_t) = options.is_websocket ? read_frames : read_events;
    if (follower->state > REQUESTED) used += (ssize_t)read_complete(follower, bytes + used, length - (size_t)used);
    if (follower->state != CLOSED) store_rest(follower, bytes + used, length - (size_t)used);
}

void followers_serve(uint32_t number, uint32_t events) {
    int error = 0;
    socklen_t size = sizeof error;
    if (all[number].state == CLOSED) return;
    if (all[number].state != CONNECTING) return read_available(number);
    getsockopt(all[number].fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error || !(events & EPOLLOUT)) return disconnect(&all[number]);
    send_request(number);
}

uint64_t followers_complete(void) {
    while (complete < feed_published) {
        uint32_t *reads = &read_count[(complete + 1) % WINDOW];
        if (*reads < follower_count[complete % options.topics]) break;
        *reads = 0, complete++;
    }
    return complete;
}

uint32_t followers_up_to_date(void) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < followers.begun; i++)
        count += all[i].state == LIVE && all[i].newest >= newest_of(all[i].topic);
    return count;
}

void followers_give_up(void) {
    memset(read_count, 0, sizeof read_count);
    complete = feed_published;
}
