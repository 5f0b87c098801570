/* The baseline: what a broadcast costs a server that does nothing else.
 *
 *     baseline PORT CONTROL
 *
 * One epoll loop on one core. It answers WebSocket and EventSource handshakes on 127.0.0.1:PORT, and keeps the
 * sockets by topic (`tab` and five digits, anywhere in the request's path). Each line `tab00017 <text>` from the Unix
 * socket CONTROL is encoded once, and the same bytes are written to all followers of the topic. It has no tickets, no
 * limits and no handling of slow clients: it is for measurements only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "accept_key.h"

#define TOPICS 100000
#define SOCKETS 65536
#define LINE 65536
#define WRITE_TIMEOUT_MS 5000

enum Role { NONE, HANDSHAKE, WEBSOCKET, EVENTSOURCE, PUBLISHER };

typedef struct { int *sockets, count, capacity; } Topic;

static Topic topics[TOPICS];
static struct { enum Role role; int topic, index; } clients[SOCKETS];
static int loop, listener, control;
static char line[LINE];
static size_t line_length;

static void die(const char *context) { perror(context), exit(1); }

static void watch(int fd, enum Role role) {
    if (fd >= SOCKETS) die("more sockets than the baseline has room for");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    clients[fd].role = role, clients[fd].topic = -1;
    if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

/* Write all bytes. A slow client blocks the loop, which is acceptable only here. */
static void write_all(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);
        if (written > 0) bytes += written, length -= (size_t)written;
        else if (errno != EAGAIN) return;
        else if (poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, WRITE_TIMEOUT_MS) < 1) return;
    }
}

static void follow(int fd, int number) {
    Topic *topic = &topics[number];
    if (topic->count == topic->capacity) {
        topic->capacity = topic->capacity ? 2 * topic->capacity : 4;
        topic->sockets = realloc(topic->sockets, sizeof(int) * (size_t)topic->capacity);
    }
    clients[fd].topic = number, clients[fd].index = topic->count;
    topic->sockets[topic->count++] = fd;
}

static void disconnect(int fd) {
    if (clients[fd].topic >= 0) {
        Topic *topic = &topics[clients[fd].topic];
        int last = topic->sockets[--topic->count];
        topic->sockets[clients[fd].index] = last, clients[last].index = clients[fd].index;
    }
    clients[fd].role = NONE;
    close(fd);
}

static int topic_in(const char *text) {
    const char *found = strstr(text, "tab");
    int number = found ? atoi(found + 3) : 0;
    return number >= 0 && number < TOPICS ? number : 0;
}

static void answer_handshake(int fd, char *request) {
    char answer[256], accept[ACCEPT_LENGTH];
    char *key = strcasestr(request, "sec-websocket-key: ");
    int length;
    if (key) {
        accept_key(key + 19, strcspn(key + 19, "\r"), accept);
        length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: %.28s\r\n\r\n", accept);
    } else {
        length = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    }
    clients[fd].role = key ? WEBSOCKET : EVENTSOURCE;
    *strchr(request, '\r') = 0;
    follow(fd, topic_in(request));
    write_all(fd, answer, (size_t)length);
}

static void write_to_followers(const Topic *topic, enum Role role, const char *frame, size_t length) {
    for (int i = 0; i < topic->count; i++)
        if (clients[topic->sockets[i]].role == role) write_all(topic->sockets[i], frame, length);
}

static void publish(const char *text, size_t length) {
    static char frame[LINE + 16];
    const Topic *topic = &topics[topic_in(text)];
    if (!topic->count) return;
    const char *body = memchr(text, ' ', length);
    size_t size = length - (size_t)(++body - text), head = size < 126 ? 2 : 4;
    frame[0] = (char)0x81;
    frame[1] = size < 126 ? (char)size : 126;
    if (head == 4) frame[2] = (char)(size >> 8), frame[3] = (char)size;
    memcpy(frame + head, body, size);
    write_to_followers(topic, WEBSOCKET, frame, head + size);
    write_to_followers(topic, EVENTSOURCE, frame, (size_t)sprintf(frame, "data: %.*s\n\n", (int)size, body));
}

static void read_messages(int fd) {
    ssize_t length = read(fd, line + line_length, LINE - line_length - 1);
    if (length <= 0) return disconnect(fd);
    size_t end = line_length + (size_t)length, begin = 0;
    for (char *newline; (newline = memchr(line + begin, '\n', end - begin)); begin = (size_t)(newline - line) + 1) {
        *newline = 0;
        publish(line + begin, (size_t)(newline - line) - begin);
    }
    line_length = end - begin;
    memmove(line, line + begin, line_length);
}

static void serve(int fd) {
    char request[8192];
    if (clients[fd].role == PUBLISHER) return read_messages(fd);
    ssize_t length = read(fd, request, sizeof request - 1);
    if (length <= 0) return disconnect(fd);
    request[length] = 0;
    if (clients[fd].role == HANDSHAKE && strstr(request, "\r\n\r\n")) answer_handshake(fd, request);
}

static void accept_all(int from, enum Role role) {
    for (int fd; (fd = accept4(from, NULL, NULL, SOCK_NONBLOCK)) >= 0; watch(fd, role))
        if (role == HANDSHAKE) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

static void listen_at(const char *port, const char *path) {
    struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    strncpy(local.sun_path, path, sizeof local.sun_path - 1);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    control = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(control, (void *)&local, sizeof local) || listen(control, 8)) die(path);
    if (bind(listener, (void *)&tcp, sizeof tcp) || listen(listener, 4096)) die(port);
}

int main(int count, char **arguments) {
    struct epoll_event events[512];
    if (count != 3) return fprintf(stderr, "baseline PORT CONTROL\n"), 2;
    listen_at(arguments[1], arguments[2]);
    loop = epoll_create1(0);
    watch(listener, NONE), watch(control, NONE);
    for (;;) {
        int ready = epoll_wait(loop, events, 512, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) accept_all(listener, HANDSHAKE);
            else if (fd == control) accept_all(control, PUBLISHER);
            else serve(fd);
        }
    }
}
