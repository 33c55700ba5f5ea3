/* What callers.c and floor.c share: RTP's layout, clocks, histograms, sockets of loopback, the lines they are told.

Both are told by lines on stdin and answer in lines of JSON on stdout (bench/media/child.py). */

#ifndef COMMON_H
#define COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    HEADER_BYTES = 12,
    SAMPLES_A_MS = 8, /* and octets, of G.711 */
    SILENCE = 0xFF,   /* of PCMU */
    RECEIVE_BUFFER = 256 * 1024, /* a relay's own */
    EVENTS = 4096,
};

#define NS_A_MS 1000000LL
#define NS_A_S 1000000000LL

/* Counts of durations in steps of 0.1 ms; the last bin has what is longer. */
enum { BINS = 40000 };
#define BIN_NS 100000LL

struct histogram {
    uint32_t bins[BINS];
    int64_t longest_ns;
};

static inline void note(struct histogram *of, int64_t ns) {
    int64_t bin = ns <= 0 ? 0 : ns / BIN_NS;
    of->bins[bin < BINS ? bin : BINS - 1]++;
    if (ns > of->longest_ns)
        of->longest_ns = ns;
}

/* Print {"bins": [[bin, count]...], "longest_ms": x} of the bins that are not empty. */
static inline void print_histogram(const char *name, const struct histogram *of) {
    printf("\"%s\": {\"longest_ms\": %.3f, \"bins\": [", name, (double)of->longest_ns / NS_A_MS);
    const char *comma = "";
    for (int bin = 0; bin < BINS; bin++)
        if (of->bins[bin]) {
            printf("%s[%d, %u]", comma, bin, of->bins[bin]);
            comma = ", ";
        }
    printf("]}");
}

static inline int64_t clock_ns(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec * NS_A_S + at.tv_nsec;
}

static inline void sleep_until(int64_t monotonic_ns) {
    struct timespec at = {monotonic_ns / NS_A_S, monotonic_ns % NS_A_S};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}

static inline void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static inline void *zeroed(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory)
        fail("memory");
    return memory;
}

/* Allow a socket a call, and timers that are exact; end with the bench. */
static inline void prepare_process(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, 1L, 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
}

/* Bind a socket to a free port of loopback; return its descriptor. */
static inline int open_socket(uint16_t *port) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
        fail("socket");
    int size = RECEIVE_BUFFER;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    if (bind(fd, (struct sockaddr *)&at, length) < 0 || getsockname(fd, (struct sockaddr *)&at, &length) < 0)
        fail("bind");
    *port = ntohs(at.sin_port);
    return fd;
}

static inline void connect_socket(int fd, int port) {
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        fail("connect");
}

static inline void watch_socket(int epoll, int fd, uint32_t row) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = row};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl");
}

static inline void print_line(const char *line) {
    puts(line);
    fflush(stdout);
}

static inline void print_ports(const uint16_t *ports, int count) {
    printf("{\"ports\": [");
    for (int row = 0; row < count; row++)
        printf("%s%d", row ? ", " : "", ports[row]);
    printf("]}\n");
    fflush(stdout);
}

/* Read the peer's port for each of `count` sockets. */
static inline void read_ports(int *ports, int count) {
    for (int row = 0; row < count; row++)
        if (scanf("%d", &ports[row]) != 1) {
            fprintf(stderr, "a port for each of %d sockets was expected on stdin\n", count);
            exit(1);
        }
}

static inline void write_16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void write_32(uint8_t *at, uint32_t value) {
    write_16(at, value >> 16);
    write_16(at + 2, value);
}

static inline uint32_t read_16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }

static inline uint32_t read_32(const uint8_t *at) { return read_16(at) << 16 | read_16(at + 2); }

/* RTP version 2, no padding, extension or CSRC (RFC 3550 §5.1), payload type 0: PCMU. */
static inline void write_header(uint8_t *at, uint32_t sequence, uint32_t timestamp, uint32_t ssrc) {
    at[0] = 0x80;
    at[1] = 0;
    write_16(at + 2, sequence);
    write_32(at + 4, timestamp);
    write_32(at + 8, ssrc);
}

#endif
