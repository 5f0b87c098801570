/* What followers saw since it was last forgotten: counts, and a histogram of how late. Knows no socket. */
#ifndef FIGURES_H
#define FIGURES_H

#include <stdint.h>

typedef struct {
    uint64_t deliveries;    /* messages seen, each follower's counted */
    uint64_t frames;        /* WebSocket frames or events that held at least one */
    uint64_t bytes;         /* read from sockets */
    uint64_t repeated;      /* seen again, or after a newer one */
    uint64_t skipped;       /* passed over by a newer one: lost, or conflated on purpose */
    uint64_t closed;        /* followers whose server ended the connection */
    uint64_t first_ns, last_ns; /* when the first and the last delivery was read; 0: none was */
} Figures;

extern Figures figures;

uint64_t now_ns(void);

void figures_forget(void);

/* One message, sent at `at_ns`, was read at `read_ns`, both by the monotonic clock. */
void figures_deliver(uint64_t at_ns, uint64_t read_ns);

/* Microseconds within which `share` (0 to 1) of the deliveries came, to 2 %; 0 while there are none. */
double figures_within_us(double share);

/* All of it as the inner of a JSON object. */
void figures_print(void);

#endif
