/* A test guest as a server: it writes numbered records to its disk, and answers over TCP.
 *
 * Told by the kernel's command line:
 *   writes=     records per second; the disk is /dev/vda
 *   records=    slots of a record at the beginning of the disk, written round and round
 *   address=    of eth0, with a prefix of 24; then port 7777 answers
 *   backend=    the address of another such guest, which is asked before anybody is answered
 *
 * A record is a block of 4096 octets: the word MAGIC, its number from 1, the boot's nonce, filling,
 * and in its last four octets the CRC-32 of all others.  It counts as written when the disk says
 * so.  A guest that boots goes on after the highest record that it finds.
 *
 * To a request, eight octets, the answer has three times as many: the same octets, the number of
 * the last record that was written, and that of the backend, or zero.  Who connects to port 7778
 * instead is sent such an answer every ten milliseconds, with the number of the answer, from 1, in
 * the first octets.  A beacon goes to everybody's port 7779 as often: number, last record, nonce.
 * All numbers are in network order.
 */
#define _GNU_SOURCE
#include "services.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, MOST = 8, TICK_MS = 10, UNSENT = 1 << 18, ASK = 7777, LISTEN = 7778, BEACON = 7779 };
static const uint64_t MAGIC = 0x7265636f72642031u;

struct record {
    uint64_t magic, number, nonce;
    unsigned char filling[BLOCK - 28];
    uint32_t sum;
};
_Static_assert(sizeof(struct record) == BLOCK, "a record is a block");

struct answer {
    uint64_t number, written, backend;
};

static volatile uint64_t *written;
static uint64_t nonce;

static _Noreturn void fail(const char *what)
{
    printf("failed: %s: %s\n", what, strerror(errno));
    for (;;)
        pause();
}

static unsigned long setting(const char *name)
{
    const char *value = getenv(name);
    return value ? strtoul(value, NULL, 10) : 0;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint32_t crc32(const unsigned char *octets, size_t count)
{
    static uint32_t table[256];
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t sum = i;
            for (int bit = 0; bit < 8; bit++)
                sum = sum >> 1 ^ (sum & 1 ? 0xedb88320u : 0);
            table[i] = sum;
        }
    uint32_t sum = ~0u;
    for (size_t i = 0; i < count; i++)
        sum = sum >> 8 ^ table[(sum ^ octets[i]) & 255];
    return ~sum;
}

/* Modules are named so that their order is that of their dependencies. */
static void load_modules(void)
{
    struct dirent **entries;
    int count = scandir("/modules", &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char path[300];
        snprintf(path, sizeof path, "/modules/%s", entries[i]->d_name);
        int file = entries[i]->d_name[0] == '.' ? -1 : open(path, O_RDONLY);
        if (file >= 0 && syscall(SYS_finit_module, file, "", 0))
            fail(path);
        close(file);
    }
}

static void write_records(void)
{
    int64_t pace = 1000 / setting("writes"), due = now_ms();
    unsigned long slots = setting("records");
    int disk = -1;
    for (int tries = 0; disk < 0 && tries < 500; tries++) {
        disk = open("/dev/vda", O_RDWR | O_DIRECT | O_DSYNC);
        if (disk < 0)
            usleep(TICK_MS * 1000);
    }
    struct record *record = aligned_alloc(BLOCK, BLOCK);
    if (disk < 0 || !record || !slots)
        fail("no disk");
    uint64_t number = 0;
    for (unsigned long slot = 0; slot < slots; slot++) {
        if (pread(disk, record, BLOCK, slot * BLOCK) != BLOCK)
            fail("the disk cannot be read");
        uint32_t sum = crc32((unsigned char *)record, BLOCK - 4);
        if (be64toh(record->magic) == MAGIC && be32toh(record->sum) == sum
            && be64toh(record->number) > number)
            number = be64toh(record->number);
    }
    *written = number;
    for (uint64_t state = nonce;;) {
        number++;
        record->magic = htobe64(MAGIC);
        record->number = htobe64(number);
        record->nonce = htobe64(nonce);
        for (size_t i = 0; i + 8 <= sizeof record->filling; i += 8) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            memcpy(record->filling + i, &state, i % 64 ? 4 : 8);
        }
        record->sum = htobe32(crc32((unsigned char *)record, BLOCK - 4));
        if (pwrite(disk, record, BLOCK, number % slots * BLOCK) != BLOCK)
            fail("the disk cannot be written");
        *written = number;
        due += pace;
        int64_t left = due - now_ms();
        if (left > 0)
            usleep(left * 1000);
        else
            due = now_ms();
    }
}

static struct sockaddr_in at(uint32_t address, uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = address };
}

/* "name" as the kernel wants it, with the address of the environment. */
static void set_up(const char *name, const char *address)
{
    struct ifreq request = { 0 };
    int any = socket(AF_INET, SOCK_DGRAM, 0);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    struct sockaddr_in own = at(inet_addr(address), 0);
    memcpy(&request.ifr_addr, &own, sizeof own);
    if (ioctl(any, SIOCSIFADDR, &request))
        fail("no network");
    struct sockaddr_in mask = at(inet_addr("255.255.255.0"), 0);
    memcpy(&request.ifr_netmask, &mask, sizeof mask);
    ioctl(any, SIOCSIFNETMASK, &request);
    struct sockaddr_in everybody = at(own.sin_addr.s_addr | htonl(255), 0);
    memcpy(&request.ifr_broadaddr, &everybody, sizeof everybody);
    ioctl(any, SIOCSIFBRDADDR, &request);
    request.ifr_flags = IFF_UP | IFF_RUNNING | IFF_BROADCAST;
    if (ioctl(any, SIOCSIFFLAGS, &request))
        fail("the network does not come up");
    close(any);
}

static int listen_at(uint16_t port)
{
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in own = at(INADDR_ANY, port);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listening, (struct sockaddr *)&own, sizeof own) || listen(listening, MOST))
        fail("nobody can connect");
    return listening;
}

/* Nothing waits for more, and much may be under way: a network that is cut for seconds is no end. */
static void prepare(int connection)
{
    int on = 1, unsent = UNSENT;
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(connection, SOL_SOCKET, SO_SNDBUF, &unsent, sizeof unsent);
}

/* The record that the backend wrote last; zero where it does not answer. */
static uint64_t ask_backend(uint64_t number)
{
    static int backend = -1;
    const char *address = getenv("backend");
    if (!address)
        return 0;
    if (backend < 0) {
        struct sockaddr_in there = at(inet_addr(address), ASK);
        backend = socket(AF_INET, SOCK_STREAM, 0);
        prepare(backend);
        if (connect(backend, (struct sockaddr *)&there, sizeof there)) {
            close(backend);
            backend = -1;
            return 0;
        }
    }
    struct answer heard = { 0 };
    if (write(backend, &number, sizeof number) != sizeof number
        || recv(backend, &heard, sizeof heard, MSG_WAITALL) != sizeof heard) {
        close(backend);
        backend = -1;
    }
    return heard.written;
}

static int said(int connection, struct answer answer)
{
    return send(connection, &answer, sizeof answer, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof answer;
}

/* Take whoever comes into the first free place, and say which; a full house turns them away. */
static int welcome(int listening, int *guests)
{
    int connection = accept(listening, NULL, NULL);
    for (int i = 0; connection >= 0 && i < MOST; i++)
        if (guests[i] < 0) {
            prepare(connection);
            guests[i] = connection;
            return i;
        }
    close(connection);
    return -1;
}

static void answer_all(void)
{
    int listening = listen_at(ASK), streaming = listen_at(LISTEN), on = 1;
    int beacon = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(beacon, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
    struct sockaddr_in everybody = at(inet_addr(getenv("address")) | htonl(255), BEACON);
    int asking[MOST], hearing[MOST];
    uint64_t told[MOST];
    memset(asking, -1, sizeof asking);
    memset(hearing, -1, sizeof hearing);
    int64_t due = now_ms();
    for (uint64_t number = 0;;) {
        struct pollfd events[MOST + 2] = {
            { .fd = listening, .events = POLLIN }, { .fd = streaming, .events = POLLIN } };
        for (int i = 0; i < MOST; i++)
            events[2 + i] = (struct pollfd){ .fd = asking[i], .events = POLLIN };
        int64_t left = due - now_ms();
        poll(events, MOST + 2, left > 0 ? left : 0);
        if (events[0].revents)
            welcome(listening, asking);
        int place = events[1].revents ? welcome(streaming, hearing) : -1;
        if (place >= 0)
            told[place] = 0;
        for (int i = 0; i < MOST; i++) {
            uint64_t asked;
            if (!events[2 + i].revents)
                continue;
            if (recv(asking[i], &asked, sizeof asked, MSG_WAITALL) == sizeof asked) {
                uint64_t behind = ask_backend(asked);
                if (said(asking[i], (struct answer){ asked, htobe64(*written), behind }))
                    continue;
            }
            close(asking[i]);
            asking[i] = -1;
        }
        if (now_ms() < due)
            continue;
        /* A guest that stood still does not catch up. */
        due = now_ms() + TICK_MS;
        number++;
        for (int i = 0; i < MOST; i++) {
            if (hearing[i] < 0)
                continue;
            struct answer tick = { htobe64(told[i] + 1), htobe64(*written), 0 };
            if (said(hearing[i], tick)) {
                told[i]++;
            } else if (errno != EAGAIN) {
                close(hearing[i]);
                hearing[i] = -1;
            }
        }
        uint64_t sign[3] = { htobe64(number), htobe64(*written), htobe64(nonce) };
        sendto(beacon, sign, sizeof sign, MSG_DONTWAIT, (struct sockaddr *)&everybody,
               sizeof everybody);
    }
}

static void begin(void (*service)(void))
{
    if (!fork()) {
        service();
        _exit(1);
    }
}

void start_services(void)
{
    const char *address = getenv("address");
    if (!address && !setting("writes"))
        return;
    mkdir("/dev", 0755);
    if (mount("dev", "/dev", "devtmpfs", 0, ""))
        fail("no /dev");
    load_modules();
    if (getrandom(&nonce, sizeof nonce, GRND_INSECURE) != sizeof nonce)
        fail("no random numbers");
    written = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (written == MAP_FAILED)
        fail("the guest has too little memory");
    if (setting("writes"))
        begin(write_records);
    if (address) {
        set_up("lo", "127.0.0.1");
        set_up("eth0", address);
        begin(answer_all);
    }
}
