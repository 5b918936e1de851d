/* The first process of a test guest: it fills memory, keeps changing it, and checks that
 * every page is still what was last written.
 *
 * Told by the kernel's command line (octets are MiB, rates are pages per round of 10 ms):
 *   text=  updates=  rewrites=  random=   size of each region
 *   touch_updates=  touch_rewrites=  touch_random=      pages changed per round in each
 *   seed=                                 what tells guests of the same shape apart
 *
 * A page is checked before it is changed, and all of them when "verify" comes in on the console:
 *   -> verify
 *   <- verified 8192 pages after 431 rounds      or      corrupt page 17 of rewrites
 *
 * Beside that it may write to its disk and answer over the network: services.c.
 */
#include "services.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8, ROUND_MS = 10, MAX_FILES = 4096 };

static uint64_t state;

static uint64_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint64_t sum_of(const void *begin, size_t words)
{
    const uint64_t *word = begin;
    uint64_t sum = 0xcbf29ce484222325u;
    for (size_t i = 0; i < words; i++)
        sum = (sum ^ word[i]) * 0x9e3779b97f4a7c15u, sum ^= sum >> 29;
    return sum;
}

static const char *const vocabulary[] = {
    "the", "of", "and", "to", "in", "route", "target", "memory", "page", "site", "cloud", "pool",
    "packet", "router", "address", "customer", "migration", "network", "virtual", "machine",
    "bandwidth", "latency", "session", "update", "request", "response", "server", "client",
    "GET /index.html HTTP/1.1", "200 OK", "INFO", "WARN", "connection", "established", "closed",
    "from", "with", "for", "is", "not", "by", "at", "id=", "user=", "SELECT", "WHERE", "INSERT",
};

/* Prose with numbers in it, as logs and tables have. */
static void write_text(unsigned char *page)
{
    size_t at = 0;
    while (at < PAGE) {
        char word[40];
        uint64_t dice = draw();
        int length;
        if (dice % 7 == 0)
            length = snprintf(word, sizeof word, "%u%c", (unsigned)(dice >> 40) % 100000,
                              dice % 5 ? ' ' : '\n');
        else
            length = snprintf(word, sizeof word, "%s ",
                vocabulary[(dice >> 8) % (sizeof vocabulary / sizeof *vocabulary)]);
        size_t room = PAGE - at;
        size_t take = (size_t)length < room ? (size_t)length : room;
        memcpy(page + at, word, take);
        at += take;
    }
}

static void write_random(unsigned char *page)
{
    uint64_t *word = (uint64_t *)page;
    for (int i = 0; i < WORDS; i++)
        word[i] = draw() * 0x9e3779b97f4a7c15u;
}

/* A counter and a short field, as a database changes a row. */
static void write_update(unsigned char *page)
{
    uint64_t *word = (uint64_t *)page;
    word[0]++;
    uint64_t dice = draw();
    size_t length = 4 + dice % 60;
    size_t at = 8 + (dice >> 16) % (PAGE - 8 - length);
    for (size_t i = 0; i < length; i++)
        page[at + i] = 'a' + (draw() >> 20) % 26;
}

struct region {
    const char *name;
    void (*fill)(unsigned char *);
    void (*change)(unsigned char *);
    const char *touch;
    size_t pages;
    unsigned char *memory;
    uint64_t *sums;
};

static struct region regions[] = {
    { .name = "text", .fill = write_text },
    { .name = "updates", .fill = write_text, .change = write_update, .touch = "touch_updates" },
    { .name = "rewrites", .fill = write_text, .change = write_text, .touch = "touch_rewrites" },
    { .name = "random", .fill = write_random, .change = write_random, .touch = "touch_random" },
};
enum { REGIONS = sizeof regions / sizeof *regions };

static unsigned long setting(const char *name)
{
    const char *value = getenv(name);
    return value ? strtoul(value, NULL, 10) : 0;
}

static void *need(size_t octets)
{
    void *memory = mmap(NULL, octets, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        printf("failed: the guest has too little memory\n");
        pause();
    }
    return memory;
}

static void check(const struct region *region, size_t page)
{
    if (sum_of(region->memory + page * PAGE, WORDS) != region->sums[page]) {
        printf("corrupt page %zu of %s\n", page, region->name);
        pause();
    }
}

/* Files of the image: the page cache of this guest. */
static char file_names[MAX_FILES][64];
static uint64_t file_sums[MAX_FILES];
static int files;

static uint64_t sum_of_file(const char *name, size_t *pages)
{
    static uint64_t buffer[WORDS * 16];
    uint64_t sum = 0;
    ssize_t got;
    int file = open(name, O_RDONLY);
    while (memset(buffer, 0, sizeof buffer), (got = read(file, buffer, sizeof buffer)) > 0) {
        sum = sum * 31 + sum_of(buffer, WORDS * 16);
        *pages += (got + PAGE - 1) / PAGE;
    }
    close(file);
    return sum;
}

static void read_files(void)
{
    size_t pages = 0;
    DIR *directory = opendir("/files");
    struct dirent *entry;
    while (directory && (entry = readdir(directory)) && files < MAX_FILES) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(file_names[files], sizeof *file_names, "/files/%.50s", entry->d_name);
        file_sums[files] = sum_of_file(file_names[files], &pages);
        files++;
    }
}

static void verify(unsigned long rounds)
{
    size_t pages = 0;
    for (int i = 0; i < REGIONS; i++) {
        for (size_t page = 0; page < regions[i].pages; page++)
            check(&regions[i], page);
        pages += regions[i].pages;
    }
    for (int i = 0; i < files; i++)
        if (sum_of_file(file_names[i], &pages) != file_sums[i]) {
            printf("corrupt file %s\n", file_names[i]);
            pause();
        }
    printf("verified %zu pages after %lu rounds\n", pages, rounds);
}

int main(void)
{
    struct termios terminal;
    setvbuf(stdout, NULL, _IOLBF, 0);
    tcgetattr(0, &terminal);
    cfmakeraw(&terminal);
    terminal.c_oflag |= OPOST;
    tcsetattr(0, TCSANOW, &terminal);
    /* Before there is memory that they would share. */
    start_services();

    for (int i = 0; i < REGIONS; i++) {
        struct region *region = &regions[i];
        /* The text is the same in guests that share a shape; the rest is each guest's own. */
        state = 0x2545f4914f6cdd1du + i + (i ? setting("seed") * 1000003 : 0);
        region->pages = setting(region->name) * 256;
        if (!region->pages)
            continue;
        region->memory = need(region->pages * PAGE);
        region->sums = need(region->pages * sizeof *region->sums);
        for (size_t page = 0; page < region->pages; page++) {
            region->fill(region->memory + page * PAGE);
            region->sums[page] = sum_of(region->memory + page * PAGE, WORDS);
        }
    }
    read_files();
    printf("ready\n");

    char line[64];
    size_t length = 0;
    for (unsigned long rounds = 1;; rounds++) {
        struct pollfd console = { .fd = 0, .events = POLLIN };
        while (poll(&console, 1, ROUND_MS) > 0 && read(0, line + length, 1) == 1) {
            if (line[length] != '\n' && line[length] != '\r') {
                length = length + 1 < sizeof line ? length + 1 : 0;
                continue;
            }
            line[length] = 0;
            length = 0;
            if (!strcmp(line, "verify"))
                verify(rounds);
        }
        for (int i = 0; i < REGIONS; i++) {
            struct region *region = &regions[i];
            unsigned long touch = region->touch && region->pages ? setting(region->touch) : 0;
            for (unsigned long n = 0; n < touch; n++) {
                size_t page = draw() % region->pages;
                check(region, page);
                region->change(region->memory + page * PAGE);
                region->sums[page] = sum_of(region->memory + page * PAGE, WORDS);
            }
        }
    }
}
