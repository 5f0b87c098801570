/* See figures.h. The histogram has 64 buckets for every doubling of nanoseconds: fixed in size, exact to 2 %. */
#include "figures.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define STEPS 64
#define BUCKETS (STEPS * 48)

Figures figures;
static uint32_t buckets[BUCKETS];

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void figures_reset(void) {
    memset(&figures, 0, sizeof figures);
    memset(buckets, 0, sizeof buckets);
}

static unsigned bucket_of(uint64_t ns) {
    if (ns < STEPS) return (unsigned)ns;
    unsigned doublings = 63 - (unsigned)__builtin_clzll(ns) - 6;
    unsigned bucket = (doublings + 1) * STEPS + (unsigned)(ns >> doublings) - STEPS;
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static double middle_ns(unsigned bucket) {
    if (bucket < STEPS) return bucket;
    return (STEPS + bucket % STEPS + 0.5) * (double)(1ULL << (bucket / STEPS - 1));
}

void figures_count(uint64_t sent_ns, uint64_t read_ns) {
    if (!figures.deliveries++) figures.first_ns = read_ns;
    figures.last_ns = read_ns;
    buckets[bucket_of(read_ns > sent_ns ? read_ns - sent_ns : 0)]++;
}

double figures_quantile_us(double share) {
    uint64_t target = (uint64_t)(share * (double)figures.deliveries), counted = 0;
    if (!figures.deliveries) return 0;
    for (unsigned i = 0; i < BUCKETS; i++)
        if ((counted += buckets[i]) > target || counted == figures.deliveries) return middle_ns(i) / 1000;
    return 0;
}

void figures_print(void) {
    printf("\"deliveries\":%" PRIu64 ",\"frames\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"repeated\":%" PRIu64
           ",\"skipped\":%" PRIu64 ",\"closed\":%" PRIu64 ",\"read_s\":%.6f,\"p50_us\":%.1f,\"p99_us\":%.1f",
           figures.deliveries, figures.frames, figures.bytes, figures.repeated, figures.skipped, figures.closed,
           (double)(figures.last_ns - figures.first_ns) / 1e9, figures_quantile_us(0.5), figures_quantile_us(0.99));
}
