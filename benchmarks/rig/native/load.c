/* The load generator: followers and publisher of one server, in one epoll loop on one core.
 *
 *     load ws|sse PORT HANDSHAKES TOPICS FEED SAMPLE
 *
 * It reads commands from its standard input, one per line:
 *
 *     connect COUNT IN_FLIGHT SECONDS   connect COUNT more followers, at most IN_FLIGHT at a time (0: all at once)
 *     closed IN_FLIGHT SECONDS          publish whenever fewer than IN_FLIGHT messages are undelivered
 *     rate PER_SECOND SECONDS           publish at a constant rate
 *     burst COUNT SECONDS               publish COUNT messages at once, then wait until the last one is read
 *     idle SECONDS                      only read, and answer pings
 *
 * It answers each command, when it is done, with one line of JSON. No command takes longer than its seconds and
 * TIMEOUT_S. The end of the input ends the process. benchmarks/rig/running.py reads the server's CPU time before
 * and after a command.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "feed.h"
#include "figures.h"
#include "followers.h"

#define TIMEOUT_S 3.0
#define ABORT_S 600 /* of any command: a safeguard */
#define FEED_NUMBER UINT32_MAX

static int loop;

static uint64_t ns(double seconds) { return (uint64_t)(seconds * 1e9); }

/* Send queued messages, then handle events; waits for events until `until_ns` at most. */
static void run_once(uint64_t until_ns) {
    struct epoll_event events[512];
    uint64_t now = now_ns(), left = feed_flush() ? 1000000 : until_ns > now ? until_ns - now : 0;
    struct timespec timeout = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
    int ready = epoll_pwait2(loop, events, 512, &timeout, NULL);
    for (int i = 0; i < ready; i++)
        if (events[i].data.u64 == FEED_NUMBER) feed_drain();
        else followers_serve((uint32_t)events[i].data.u64, events[i].events);
}

/* Wait until all messages are complete, for TIMEOUT_S at most. Returns how many are not. */
static uint64_t wait_for_all(void) {
    uint64_t end_ns = now_ns() + ns(TIMEOUT_S);
    while (followers_complete() < feed_published && now_ns() < end_ns) run_once(end_ns);
    uint64_t missing = feed_published - followers_complete();
    followers_give_up();
    return missing;
}

static void connect_more(uint32_t count, uint32_t in_flight, double seconds) {
    uint64_t began_ns = now_ns(), end_ns = began_ns + ns(seconds);
    uint32_t target = followers.begun + count, live = followers.live, refused = followers.refused;
    followers.live_ns = began_ns;
    for (;;) {
        uint32_t connecting = followers.begun - followers.live - followers.refused;
        for (; followers.begun < target && (!in_flight || connecting < in_flight); connecting++) followers_begin();
        if (!connecting || now_ns() >= end_ns) break;
        run_once(end_ns);
    }
    printf("{\"connected\":%u,\"refused\":%u,\"late\":%u,\"wall_s\":%.6f}\n", followers.live - live,
           followers.refused - refused, followers.begun - followers.live - followers.refused,
           (double)(followers.live_ns - began_ns) / 1e9);
}

/* Print the figures since message `first`: `missing` messages were not read by all, `stalls` waits timed out. */
static void report(uint64_t first, uint64_t began_ns, uint64_t missing, uint64_t stalls) {
    printf("{\"published\":%" PRIu64 ",\"followers\":%u,\"wall_s\":%.6f,\"missing\":%" PRIu64 ",\"stalls\":%" PRIu64
           ",\"saw_last\":%u,",
           feed_published - first, followers.live, (double)(now_ns() - began_ns) / 1e9, missing, stalls,
           followers_up_to_date());
    figures_print();
    printf("}\n");
}

static void publish_closed_loop(uint32_t in_flight, double seconds) {
    uint64_t began_ns = now_ns(), end_ns = began_ns + ns(seconds), moved_ns = began_ns;
    uint64_t first = feed_published, complete = first, stalls = 0;
    while (now_ns() < end_ns) {
        while (followers.live && feed_published - followers_complete() < in_flight) feed_publish();
        if (followers_complete() > complete) complete = followers_complete(), moved_ns = now_ns();
        if (now_ns() > moved_ns + ns(TIMEOUT_S)) followers_give_up(), moved_ns = now_ns(), stalls++;
        run_once(end_ns);
    }
    report(first, began_ns, wait_for_all(), stalls);
}

static void publish_at_rate(double per_second, double seconds) {
    uint64_t began_ns = now_ns(), first = feed_published, count = (uint64_t)(per_second * seconds);
    for (uint64_t i = 0; i < count;) {
        uint64_t due_ns = began_ns + ns((double)i / per_second);
        if (now_ns() >= due_ns) feed_publish(), feed_flush(), i++;
        else run_once(due_ns);
    }
    report(first, began_ns, wait_for_all(), 0);
}

static void publish_burst(uint32_t count, double seconds) {
    uint64_t began_ns = now_ns(), end_ns = began_ns + ns(seconds), first = feed_published;
    for (uint32_t i = 0; i < count; i++) feed_publish();
    while (followers_complete() < feed_published && now_ns() < end_ns) run_once(end_ns);
    uint64_t missing = feed_published - followers_complete();
    followers_give_up();
    report(first, began_ns, missing, 0);
}

static void idle(double seconds) {
    uint64_t began_ns = now_ns(), end_ns = began_ns + ns(seconds), first = feed_published;
    while (now_ns() < end_ns) run_once(end_ns);
    report(first, began_ns, 0, 0);
}

static void run_command(const char *line) {
    uint32_t count, in_flight;
    double seconds, per_second;
    alarm(ABORT_S);
    figures_reset();
    if (sscanf(line, "connect %u %u %lf", &count, &in_flight, &seconds) == 3) connect_more(count, in_flight, seconds);
    else if (sscanf(line, "closed %u %lf", &in_flight, &seconds) == 2) publish_closed_loop(in_flight, seconds);
    else if (sscanf(line, "rate %lf %lf", &per_second, &seconds) == 2) publish_at_rate(per_second, seconds);
    else if (sscanf(line, "burst %u %lf", &count, &seconds) == 2) publish_burst(count, seconds);
    else if (sscanf(line, "idle %lf", &seconds) == 1) idle(seconds);
    else printf("{\"error\":\"unknown command\"}\n");
    fflush(stdout);
}

int main(int count, char **arguments) {
    char line[256];
    if (count != 7) return fprintf(stderr, "load ws|sse PORT HANDSHAKES TOPICS FEED SAMPLE\n"), 2;
    uint32_t topics = (uint32_t)atoi(arguments[4]);
    struct epoll_event from_feed = {.events = EPOLLIN, .data.u64 = FEED_NUMBER};
    loop = epoll_create1(0);
    followers_open(loop, atoi(arguments[2]), arguments[3], !strcmp(arguments[1], "ws"), topics);
    epoll_ctl(loop, EPOLL_CTL_ADD, feed_open(arguments[5], arguments[6], topics), &from_feed);
    while (fgets(line, sizeof line, stdin)) run_command(line);
    return 0;
}
