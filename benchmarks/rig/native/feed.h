/* The publisher: repeats one recorded message with new numbers.
 *
 * In the recorded bytes, every blank token is replaced by the message's token, every `tab00000` by its topic, and every
 * 1000000000 (the `seq` of the recorded snapshot) by a number that grows. So publishing costs the load generator's core
 * almost nothing, whichever library published the recorded message.
 */
#ifndef FEED_H
#define FEED_H

#include <stdint.h>

extern uint64_t feed_published; /* the sequence number of the newest message; the first is 1 */

/* `address` is unix:PATH or tcp:HOST:PORT; `sample` a file with the recorded bytes. Returns the socket. */
int feed_open(const char *address, const char *sample, uint32_t topics);

/* Queue the next message, for topic (its number - 1) modulo the number of topics; `feed_flush` sends it. */
void feed_publish(void);

/* Send as much as the socket takes. Returns whether bytes are left. */
int feed_flush(void);

/* Read and discard the broker's answers. */
void feed_drain(void);

#endif
