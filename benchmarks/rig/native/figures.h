/* What followers have read since the last `figures_reset`: counts, and a histogram of the delays. Knows no socket. */
#ifndef FIGURES_H
#define FIGURES_H

#include <stdint.h>

typedef struct {
    uint64_t deliveries;    /* messages read, summed over all followers */
    uint64_t frames;        /* WebSocket frames or events that contained at least one */
    uint64_t bytes;         /* read from sockets */
    uint64_t repeated;      /* read twice, or after a newer one */
    uint64_t skipped;       /* skipped by a newer one: lost, or conflated on purpose */
    uint64_t closed;        /* connections that the server closed */
    uint64_t first_ns, last_ns; /* when the first and the last delivery was read; 0: none */
} Figures;

extern Figures figures;

uint64_t now_ns(void);

void figures_reset(void);

/* Count a message that was sent at `sent_ns` and read at `read_ns`, both by the monotonic clock. */
void figures_count(uint64_t sent_ns, uint64_t read_ns);

/* The delay in microseconds that `share` (0 to 1) of the deliveries do not exceed, exact to 2 %; 0: no deliveries. */
double figures_quantile_us(double share);

/* Print all figures as members of a JSON object, without its braces. */
void figures_print(void);

#endif
