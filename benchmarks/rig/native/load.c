/* Followers and publisher of one server, in one epoll loop on one core, told by lines what to do.
 *
 *     load ws|sse PORT ASKS TOPICS FEED SAMPLE
 *
 *     connect COUNT FLIGHT SECONDS   that many more followers, at most FLIGHT shaking hands at once (0: all)
 *     closed FLIGHT SECONDS          publish while fewer than FLIGHT messages are under way
 *     rate PER_SECOND SECONDS        publish at a steady pace
 *     burst COUNT SECONDS            publish that many at once, then wait for the last one
 *     idle SECONDS                   only listen, and answer pings
 *
 * Each line in is answered by one line of JSON when it is done; none takes longer than its seconds and PATIENCE_S.
 * The end of the input ends the process. Whoever gives the lines (benchmarks/rig/load.py) reads the server's CPU clock
 * before and after.
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

#define PATIENCE_S 3.0
#define BEYOND_S 600 /* of one line, whatever was asked */
#define FEED_NUMBER UINT32_MAX

static int loop;

static uint64_t ns(double seconds) { return (uint64_t)(seconds * 1e9); }

/* Send what waits, then serve what happens next, or nothing from `instant_ns` on. */
static void turn(uint64_t instant_ns) {
    struct epoll_event events[512];
    uint64_t now = now_ns(), left = feed_flush() ? 1000000 : instant_ns > now ? instant_ns - now : 0;
    struct timespec patience = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
    int ready = epoll_pwait2(loop, events, 512, &patience, NULL);
    for (int i = 0; i < ready; i++)
        if (events[i].data.u64 == FEED_NUMBER) feed_drain();
        else followers_serve((uint32_t)events[i].data.u64, events[i].events);
}

/* Wait until everything has been seen, for PATIENCE_S at most; then wait for it no more. */
static uint64_t settled(void) {
    uint64_t over_ns = now_ns() + ns(PATIENCE_S);
    while (followers_complete() < feed_published && now_ns() < over_ns) turn(over_ns);
    uint64_t missing = feed_published - followers_complete();
    followers_forgive();
    return missing;
}

static void connect_more(uint32_t count, uint32_t flight, double seconds) {
    uint64_t began_ns = now_ns(), over_ns = began_ns + ns(seconds);
    uint32_t target = followers.begun + count, live = followers.live, refused = followers.refused;
    followers.live_ns = began_ns;
    for (;;) {
        uint32_t under_way = followers.begun - followers.live - followers.refused;
        for (; followers.begun < target && (!flight || under_way < flight); under_way++) followers_begin();
        if (!under_way || now_ns() >= over_ns) break;
        turn(over_ns);
    }
    printf("{\"connected\":%u,\"refused\":%u,\"late\":%u,\"wall_s\":%.6f}\n", followers.live - live,
           followers.refused - refused, followers.begun - followers.live - followers.refused,
           (double)(followers.live_ns - began_ns) / 1e9);
}

/* What was published from message `first` on; `missing` were not seen by all, `stalls` waits were given up. */
static void report(uint64_t first, uint64_t began_ns, uint64_t missing, uint64_t stalls) {
    printf("{\"published\":%" PRIu64 ",\"followers\":%u,\"wall_s\":%.6f,\"missing\":%" PRIu64 ",\"stalls\":%" PRIu64
           ",\"saw_last\":%u,",
           feed_published - first, followers.live, (double)(now_ns() - began_ns) / 1e9, missing, stalls,
           followers_up_to_date());
    figures_print();
    printf("}\n");
}

static void publish_closed(uint32_t flight, double seconds) {
    uint64_t began_ns = now_ns(), over_ns = began_ns + ns(seconds), moved_ns = began_ns;
    uint64_t first = feed_published, complete = first, stalls = 0;
    while (now_ns() < over_ns) {
        while (followers.live && feed_published - followers_complete() < flight) feed_publish();
        if (followers_complete() > complete) complete = followers_complete(), moved_ns = now_ns();
        if (now_ns() > moved_ns + ns(PATIENCE_S)) followers_forgive(), moved_ns = now_ns(), stalls++;
        turn(over_ns);
    }
    report(first, began_ns, settled(), stalls);
}

static void publish_at_rate(double per_second, double seconds) {
    uint64_t began_ns = now_ns(), first = feed_published, count = (uint64_t)(per_second * seconds);
    for (uint64_t i = 0; i < count;) {
        uint64_t due_ns = began_ns + ns((double)i / per_second);
        if (now_ns() >= due_ns) feed_publish(), feed_flush(), i++;
        else turn(due_ns);
    }
    report(first, began_ns, settled(), 0);
}

static void publish_burst(uint32_t count, double seconds) {
    uint64_t began_ns = now_ns(), over_ns = began_ns + ns(seconds), first = feed_published;
    for (uint32_t i = 0; i < count; i++) feed_publish();
    while (followers_complete() < feed_published && now_ns() < over_ns) turn(over_ns);
    uint64_t missing = feed_published - followers_complete();
    followers_forgive();
    report(first, began_ns, missing, 0);
}

static void idle(double seconds) {
    uint64_t began_ns = now_ns(), over_ns = began_ns + ns(seconds), first = feed_published;
    while (now_ns() < over_ns) turn(over_ns);
    report(first, began_ns, 0, 0);
}

static void obey(const char *line) {
    uint32_t count, flight;
    double seconds, per_second;
    alarm(BEYOND_S);
    figures_forget();
    if (sscanf(line, "connect %u %u %lf", &count, &flight, &seconds) == 3) connect_more(count, flight, seconds);
    else if (sscanf(line, "closed %u %lf", &flight, &seconds) == 2) publish_closed(flight, seconds);
    else if (sscanf(line, "rate %lf %lf", &per_second, &seconds) == 2) publish_at_rate(per_second, seconds);
    else if (sscanf(line, "burst %u %lf", &count, &seconds) == 2) publish_burst(count, seconds);
    else if (sscanf(line, "idle %lf", &seconds) == 1) idle(seconds);
    else printf("{\"error\":\"not understood\"}\n");
    fflush(stdout);
}

int main(int count, char **words) {
    char line[256];
    if (count != 7) return fprintf(stderr, "load ws|sse PORT ASKS TOPICS FEED SAMPLE\n"), 2;
    uint32_t topics = (uint32_t)atoi(words[4]);
    struct epoll_event from_feed = {.events = EPOLLIN, .data.u64 = FEED_NUMBER};
    loop = epoll_create1(0);
    followers_open(loop, atoi(words[2]), words[3], !strcmp(words[1], "ws"), topics);
    epoll_ctl(loop, EPOLL_CTL_ADD, feed_open(words[5], words[6], topics), &from_feed);
    while (fgets(line, sizeof line, stdin)) obey(line);
    return 0;
}
