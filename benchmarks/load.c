// Load client: keeps CONNECTIONS requests in flight over loopback and times what comes back.
//
// usage: load PORT CONNECTIONS RAMP_S WARM_S MEASURE_S INTERVAL_MS < request
//
// Standard input is one whole HTTP request, sent again on a connection as soon as it was answered. The
// requests start spread over RAMP_S seconds; the window of measurement begins WARM_S seconds later. Standard
// output: "start" when the window begins, "end" when it is over (the caller reads the server's CPU time at
// these two lines), then one line of JSON. Times in it are milliseconds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENT "data: {"
#define EVENT_LEN 7
#define LAST_CHUNK "0\r\n\r\n"
#define LAST_CHUNK_LEN 5
// The longest line of which the beginning is kept until its end arrives.
#define LINE_MAX 8192
#define HEAD_MAX 8192
#define READ_MAX 65536

typedef struct {
    float *values;
    size_t count, capacity;
} Samples;

typedef struct {
    int fd, connected;
    double sent, last;       // when the request was sent, when the last token came
    int events, tokens;      // of the present response
    int in_body;             // the response's headers are complete
    long body_left;          // bytes of a body of known length; -1: chunked
    size_t head_len;
    int served;              // something arrived within the window
    size_t line_len;
    char line[LINE_MAX];     // the beginning of a line whose end has not arrived
    char tail[LAST_CHUNK_LEN];
    char head[HEAD_MAX];
} Connection;

static struct sockaddr_in server;
static char request[READ_MAX];
static size_t request_len;
static int poller;
static double window_start = INFINITY;
static Samples gaps, first_token, latency;
static size_t tokens_in_window, reads_in_window, completed_in_window, errors;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static double own_cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void add(Samples *samples, double value) {
    if (samples->count == samples->capacity) {
        samples->capacity = samples->capacity ? 2 * samples->capacity : 65536;
        samples->values = realloc(samples->values, samples->capacity * sizeof(float));
        if (!samples->values) fail("realloc");
    }
    samples->values[samples->count++] = (float)value;
}

static void watch(Connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, operation, c->fd, &event) < 0) fail("epoll_ctl");
}

// A server that does not accept must not hold up the reading of other connections.
static void open_connection(Connection *c) {
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) fail("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS) fail("connect");
    c->connected = 0;
    watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void send_request(Connection *c) {
    c->in_body = 0;
    c->head_len = c->line_len = 0;
    memset(c->tail, 0, sizeof c->tail);
    c->events = c->tokens = 0;
    c->sent = now();
    if (send(c->fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len) errors++;
}

static void reconnect(Connection *c) {
    close(c->fd);
    open_connection(c);
}

// The first request of a connection goes out once there is one.
static void on_connected(Connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    errno = error;
    if (error) fail("connect");
    c->connected = 1;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    send_request(c);
}

// Takes header bytes; returns how many of `data` belong to the headers, or -1 if the response is unusable.
static ssize_t read_head(Connection *c, const char *data, size_t len) {
    size_t before = c->head_len, room = HEAD_MAX - 1 - before;
    size_t taken = len < room ? len : room;
    memcpy(c->head + before, data, taken);
    c->head_len += taken;
    c->head[c->head_len] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) return c->head_len < HEAD_MAX - 1 ? (ssize_t)len : -1;
    end[2] = 0;
    if (strncmp(c->head, "HTTP/1.1 200", 12) != 0) return -1;
    char *length = strcasestr(c->head, "\r\ncontent-length:");
    c->body_left = length ? atol(length + 17) : -1;
    c->in_body = 1;
    return end + 4 - c->head - (ssize_t)before;
}

static void count_token(Connection *c, double at) {
    c->tokens++;
    int in_window = at >= window_start;
    if (c->tokens == 1)
        add(&first_token, at - c->sent);
    else if (in_window)
        add(&gaps, at - c->last);
    c->last = at;
    if (in_window) tokens_in_window++;
}

// Counts the events among whole lines.
static void count_events(Connection *c, const char *data, size_t len, double at) {
    const char *position = data, *end = data + len;
    while ((position = memmem(position, end - position, EVENT, EVENT_LEN))) {
        position += EVENT_LEN;
        const char *stop = memchr(position, '\n', end - position);
        // A first event that names the role is no token.
        if (c->events++ == 0 && memmem(position, stop - position, "\"role\":", 7)) continue;
        count_token(c, at);
    }
}

// Takes a piece of an event stream; returns whether the response ended with it.
static int read_events(Connection *c, const char *data, size_t len, double at) {
    static char joined[LINE_MAX + READ_MAX];
    memcpy(joined, c->line, c->line_len);
    memcpy(joined + c->line_len, data, len);
    size_t total = c->line_len + len;
    const char *last = memrchr(joined, '\n', total);
    size_t whole = last ? (size_t)(last + 1 - joined) : 0;
    count_events(c, joined, whole, at);
    c->line_len = total - whole < LINE_MAX ? total - whole : 0;
    memcpy(c->line, joined + whole, c->line_len);
    if (len >= LAST_CHUNK_LEN) {
        memcpy(c->tail, data + len - LAST_CHUNK_LEN, LAST_CHUNK_LEN);
    } else {
        memmove(c->tail, c->tail + len, LAST_CHUNK_LEN - len);
        memcpy(c->tail + LAST_CHUNK_LEN - len, data, len);
    }
    return memcmp(c->tail, LAST_CHUNK, LAST_CHUNK_LEN) == 0;
}

static int read_body(Connection *c, const char *data, size_t len, double at) {
    if (c->body_left < 0) return read_events(c, data, len, at);
    c->body_left -= len;
    return c->body_left <= 0;
}

static void on_readable(Connection *c) {
    static char buffer[READ_MAX];
    ssize_t len = recv(c->fd, buffer, sizeof buffer, 0);
    double at = now();
    if (len < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (len <= 0) {
        errors++;
        reconnect(c);
        return;
    }
    if (at >= window_start) {
        reads_in_window++;
        c->served = 1;
    }
    const char *data = buffer;
    if (!c->in_body) {
        ssize_t head = read_head(c, data, len);
        if (head < 0) {
            if (errors++ == 0) fprintf(stderr, "unusable response: %.300s\n", c->head);
            reconnect(c);
            return;
        }
        data += head;
        len -= head;
        if (!c->in_body) return;
    }
    if (!read_body(c, data, len, at)) return;
    if (at >= window_start) {
        completed_in_window++;
        add(&latency, at - c->sent);
    }
    if (strcasestr(c->head, "\r\nconnection: close"))
        reconnect(c);
    else
        send_request(c);
}

static int ascending(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static void print_quantiles(const char *name, Samples *samples) {
    static const double shares[] = {0.5, 0.95, 0.99, 1.0};
    static const char *labels[] = {"p50", "p95", "p99", "max"};
    qsort(samples->values, samples->count, sizeof(float), ascending);
    printf(",\"%s\":{", name);
    for (int i = 0; i < 4; i++) {
        if (i) printf(",");
        if (!samples->count) {
            printf("\"%s\":null", labels[i]);
            continue;
        }
        size_t index = (size_t)(shares[i] * (samples->count - 1));
        printf("\"%s\":%.4f", labels[i], 1000 * samples->values[index]);
    }
    printf("}");
}

static double mean(const Samples *samples) {
    double sum = 0;
    for (size_t i = 0; i < samples->count; i++) sum += samples->values[i];
    return samples->count ? sum / samples->count : 0;
}

static void report(double seconds, double cpu, double interval, int starved) {
    printf("{\"seconds\":%.6f,\"tokens\":%zu,\"reads\":%zu,\"completed\":%zu,\"errors\":%zu,\"starved\":%d,"
           "\"client_cpu\":%.4f,\"mean_gap\":%.5f",
           seconds, tokens_in_window, reads_in_window, completed_in_window, errors, starved, cpu / seconds,
           1000 * mean(&gaps));
    for (size_t i = 0; i < gaps.count; i++) gaps.values[i] = fabsf(gaps.values[i] - (float)interval);
    print_quantiles("gap_error", &gaps);
    print_quantiles("first_token", &first_token);
    print_quantiles("latency", &latency);
    printf("}\n");
}

static void say(const char *word) {
    puts(word);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: load PORT CONNECTIONS RAMP_S WARM_S MEASURE_S INTERVAL_MS < request\n");
        return 2;
    }
    int count = atoi(argv[2]), started = 0;
    double ramp = atof(argv[3]), warm = atof(argv[4]), measure = atof(argv[5]), interval = atof(argv[6]) / 1000;
    server.sin_family = AF_INET;
    server.sin_port = htons(atoi(argv[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    request_len = fread(request, 1, sizeof request, stdin);
    poller = epoll_create1(0);
    Connection *connections = calloc(count, sizeof(Connection));
    if (!connections) fail("calloc");

    struct epoll_event events[512];
    double begin = now(), start = begin + ramp + warm, end = start + measure, cpu = 0;
    for (double at = begin; at < end; at = now()) {
        while (started < count && at >= begin + ramp * started / count) {
            open_connection(&connections[started++]);
        }
        if (at >= start && window_start == INFINITY) {
            window_start = at;
            cpu = own_cpu();
            say("start");
        }
        int ready = epoll_wait(poller, events, 512, 1);
        for (int i = 0; i < ready; i++) {
            Connection *c = events[i].data.ptr;
            if (c->connected)
                on_readable(c);
            else
                on_connected(c);
        }
    }
    double seconds = now() - window_start;
    cpu = own_cpu() - cpu;
    say("end");
    int starved = 0;
    for (int i = 0; i < count; i++) starved += !connections[i].served;
    report(seconds, cpu, interval, starved);
    return 0;
}
