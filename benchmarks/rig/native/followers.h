/* The followers: sockets that shake hands, say whom they follow, read, and acknowledge where it is asked for. */
#ifndef FOLLOWERS_H
#define FOLLOWERS_H

#include <stdint.h>

typedef struct {
    uint32_t begun, live, refused; /* connections: tried, following now, turned away */
    uint64_t live_ns;              /* when the latest began to follow */
} Followers;

extern Followers followers;

/* `port` on 127.0.0.1; `asks` is a file with a line a follower: PATH tab HEADER tab FIRST MESSAGE, of which header
 * and message may be empty. One with a first message follows once it has been answered, another once its handshake
 * is. Follower i follows topic i modulo `topics`. */
void followers_open(int loop, int port, const char *asks, int is_websocket, uint32_t topics);

/* Begin one more connection. */
void followers_begin(void);

/* Something happened to the follower of this number, by which it is known to the loop. */
void followers_serve(uint32_t number, uint32_t events);

/* The newest message up to which every follower of its topic has seen it, or a newer one of that topic. */
uint64_t followers_complete(void);

/* How many of those who follow now have seen the newest message of their topic. */
uint32_t followers_up_to_date(void);

/* Wait no longer for anything that was published until now. */
void followers_forgive(void);

#endif
