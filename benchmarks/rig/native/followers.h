/* The followers: sockets that connect, choose a topic, read messages, and acknowledge them if the server asks for
 * that. */
#ifndef FOLLOWERS_H
#define FOLLOWERS_H

#include <stdint.h>

typedef struct {
    uint32_t begun, live, refused; /* connections: attempted, following now, refused or closed before */
    uint64_t live_ns;              /* when the latest one began to follow */
} Followers;

extern Followers followers;

/* `port` is on 127.0.0.1. `handshakes` is a file with a line for each follower: PATH tab HEADER tab FIRST MESSAGE;
 * header and message may be empty. A follower with a first message follows once the server has answered that message,
 * another once its handshake is answered. Follower i follows topic i modulo `topics`. */
void followers_open(int loop, int port, const char *handshakes, int is_websocket, uint32_t topics);

/* Start one more connection. */
void followers_begin(void);

/* Handle epoll events of the follower with this number. */
void followers_serve(uint32_t number, uint32_t events);

/* The number of the last complete message: every follower of its topic has read it or a newer one, and all messages
 * before it are complete too. */
uint64_t followers_complete(void);

/* The number of present followers that have read the newest message of their topic. */
uint32_t followers_up_to_date(void);

/* Count all messages published until now as complete. */
void followers_give_up(void);

#endif
