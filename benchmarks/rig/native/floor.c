/* The floor: what a broadcast costs a server that does nothing else.
 *
 *     floor PORT CONTROL
 *
 * One epoll loop on one core. It answers WebSocket and EventSource handshakes on 127.0.0.1:PORT, and keeps the
 * sockets by topic (`tab` and five digits, anywhere in the request's path). Each line `tab00017 <text>` that comes
 * by the Unix socket CONTROL is framed once, and the same bytes are written to each of the topic's followers. It
 * knows no ticket, no limit and no slow reader: nobody may use it for anything but a measure.
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
#define PATIENCE_MS 5000

enum Role { NOBODY, VISITOR, WEBSOCKET, EVENTSOURCE, PUBLISHER };

typedef struct { int *sockets, count, room; } Topic;

static Topic topics[TOPICS];
static struct { enum Role role; int topic, place; } all[SOCKETS];
static int loop, door, control;
static char line[LINE];
static size_t held;

static void die(const char *what) { perror(what), exit(1); }

static void watch(int fd, enum Role role) {
    if (fd >= SOCKETS) die("more sockets than the floor has room for");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    all[fd].role = role, all[fd].topic = -1;
    if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

/* The whole of it, whatever the reader's pace: the floor waits for a slow one, as nothing else may. */
static void write_all(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);
        if (written > 0) bytes += written, length -= (size_t)written;
        else if (errno != EAGAIN || poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, PATIENCE_MS) < 1) return;
    }
}

static void join(int fd, int number) {
    Topic *topic = &topics[number];
    if (topic->count == topic->room) {
        topic->room = topic->room ? 2 * topic->room : 4;
        topic->sockets = realloc(topic->sockets, sizeof(int) * (size_t)topic->room);
    }
    all[fd].topic = number, all[fd].place = topic->count;
    topic->sockets[topic->count++] = fd;
}

static void leave(int fd) {
    if (all[fd].topic >= 0) {
        Topic *topic = &topics[all[fd].topic];
        int last = topic->sockets[--topic->count];
        topic->sockets[all[fd].place] = last, all[last].place = all[fd].place;
    }
    all[fd].role = NOBODY;
    close(fd);
}

static int topic_in(const char *text) {
    const char *found = strstr(text, "tab");
    int number = found ? atoi(found + 3) : 0;
    return number >= 0 && number < TOPICS ? number : 0;
}

static void greet(int fd, char *request) {
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
    all[fd].role = key ? WEBSOCKET : EVENTSOURCE;
    *strchr(request, '\r') = 0;
    join(fd, topic_in(request));
    write_all(fd, answer, (size_t)length);
}

static void tell(const Topic *topic, enum Role role, const char *frame, size_t length) {
    for (int i = 0; i < topic->count; i++)
        if (all[topic->sockets[i]].role == role) write_all(topic->sockets[i], frame, length);
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
    tell(topic, WEBSOCKET, frame, head + size);
    tell(topic, EVENTSOURCE, frame, (size_t)sprintf(frame, "data: %.*s\n\n", (int)size, body));
}

static void hear(int fd) {
    ssize_t got = read(fd, line + held, LINE - held - 1);
    if (got <= 0) return leave(fd);
    size_t end = held + (size_t)got, begin = 0;
    for (char *stop; (stop = memchr(line + begin, '\n', end - begin)); begin = (size_t)(stop - line) + 1) {
        *stop = 0;
        publish(line + begin, (size_t)(stop - line) - begin);
    }
    held = end - begin;
    memmove(line, line + begin, held);
}

static void serve(int fd) {
    char request[8192];
    if (all[fd].role == PUBLISHER) return hear(fd);
    ssize_t got = read(fd, request, sizeof request - 1);
    if (got <= 0) return leave(fd);
    request[got] = 0;
    if (all[fd].role == VISITOR && strstr(request, "\r\n\r\n")) greet(fd, request);
}

static void welcome(int at, enum Role role) {
    for (int fd; (fd = accept4(at, NULL, NULL, SOCK_NONBLOCK)) >= 0; watch(fd, role))
        if (role == VISITOR) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

static void open_doors(const char *port, const char *path) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    struct sockaddr_un there = {.sun_family = AF_UNIX};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    strncpy(there.sun_path, path, sizeof there.sun_path - 1);
    door = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), control = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(control, (void *)&there, sizeof there) || listen(control, 8)) die(path);
    if (bind(door, (void *)&here, sizeof here) || listen(door, 4096)) die(port);
}

int main(int count, char **arguments) {
    struct epoll_event events[512];
    if (count != 3) return fprintf(stderr, "floor PORT CONTROL\n"), 2;
    open_doors(arguments[1], arguments[2]);
    loop = epoll_create1(0);
    watch(door, NOBODY), watch(control, NOBODY);
    for (;;) {
        int ready = epoll_wait(loop, events, 512, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == door) welcome(door, VISITOR);
            else if (fd == control) welcome(control, PUBLISHER);
            else serve(fd);
        }
    }
}
