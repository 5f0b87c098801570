/* The publisher: one message, recorded once from the real one, said again and again with new numbers.
 *
 * In the recorded bytes every blank token becomes the message's, every `tab00000` its topic, and every 1000000000
 * (what the recorded snapshot has for `seq`) a number that grows. So publishing costs the core that followers run
 * on next to nothing, whatever library the message was first published by.
 */
#ifndef FEED_H
#define FEED_H

#include <stdint.h>

extern uint64_t feed_published; /* the sequence number of the newest message; the first is 1 */

/* `address` is unix:PATH or tcp:HOST:PORT; `sample` a file with the recorded bytes. Returns the socket. */
int feed_open(const char *address, const char *sample, uint32_t topics);

/* Say the next message, to topic (its number - 1) modulo the count of topics; sent by `feed_flush`. */
void feed_publish(void);

/* Send what the socket takes. Returns whether something still waits for it. */
int feed_flush(void);

/* Read and forget what the broker answers. */
void feed_drain(void);

#endif
