/* The kernel's inner loops; portable.py defines what they do, and tests hold both equal.
 *
 * A plain shared library, called through ctypes: it needs a C compiler and nothing of Python's.
 * All pointers are to contiguous arrays of the shapes that native.py has checked; pages and words
 * are read through memcpy, which compiles to one load. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PAGE 4096
#define WORD 8

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define VECTORISED __attribute__((target_clones("avx2", "default")))
#else
#define VECTORISED
#endif

static uint64_t load(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, WORD);
    return word;
}

void fingerprints(const uint8_t *blocks, int64_t count, int64_t size, const uint64_t *keys,
                  uint64_t *out)
{
    for (int64_t i = 0; i < count; i++, blocks += size) {
        uint64_t a = 0, b = 0, c = 0, d = 0;
        for (int64_t w = 0; w < size / WORD; w += 4) {
            a += load(blocks + w * WORD) * keys[w];
            b += load(blocks + w * WORD + 8) * keys[w + 1];
            c += load(blocks + w * WORD + 16) * keys[w + 2];
            d += load(blocks + w * WORD + 24) * keys[w + 3];
        }
        out[i] = a + b + c + d;
    }
}

void equal_rows(const uint8_t *blocks, int64_t count, int64_t size, const uint8_t *ring,
                const int64_t *slots, uint8_t *out)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = slots[i] >= 0 && !memcmp(blocks + i * size, ring + slots[i] * size, (size_t)size);
}

VECTORISED static int changed_octets(const uint8_t *new, const uint8_t *old)
{
    int total = 0;
    for (int begin = 0; begin < PAGE; begin += 128) {
        uint8_t part = 0;
        for (int i = begin; i < begin + 128; i++)
            part += new[i] != old[i];
        total += part;
    }
    return total;
}

/* Runs and octets of one page, at most `room` octets in all, four for each run; -1 if there is
 * more.  `used` counts the octets put into `changed`. */
static int32_t encode_page(const uint8_t *new, const uint8_t *old, int gap, int64_t room,
                           uint16_t *runs, uint8_t *changed, int64_t *used)
{
    int32_t count = 0;
    int64_t put = 0;
    int end = -PAGE, begin = 0, previous = 0;
    for (int at = 0; at < PAGE; at += WORD) {
        uint64_t word = load(new + at) ^ load(old + at);
        while (word) {
            int position = at + (__builtin_ctzll(word) >> 3);
            if (position - end > gap) {
                if (count) {
                    runs[2 * count - 1] = (uint16_t)(end - begin);
                    previous = end;
                }
                begin = end = position;
                runs[2 * count++] = (uint16_t)(begin - previous);
            }
            if (4 * count + put + (position + 1 - end) > room)
                return -1;
            for (; end <= position; end++)
                changed[put++] = new[end] ^ old[end];
            word &= ~((uint64_t)0xff << (8 * (position - at)));
        }
    }
    if (count)
        runs[2 * count - 1] = (uint16_t)(end - begin);
    *used = put;
    return count;
}

/* Returns how many runs, and in `used` how many octets; `runs` has room for `threshold / 5 + 1`
 * of them for each page, `changed` for `threshold` octets. */
int64_t delta_encode(const uint8_t *pages, int64_t count, const uint8_t *ring,
                     const int64_t *slots, int64_t gap, int64_t threshold, int32_t *counts,
                     uint16_t *runs, uint8_t *changed, int64_t *used)
{
    int64_t all_runs = 0, all_octets = 0;
    for (int64_t i = 0; i < count; i++) {
        counts[i] = -1;
        if (slots[i] < 0)
            continue;
        const uint8_t *new = pages + i * PAGE, *old = ring + slots[i] * PAGE;
        if (changed_octets(new, old) > threshold - 4 && memcmp(new, old, PAGE))
            continue;
        int64_t octets = 0;
        counts[i] = encode_page(new, old, (int)gap, threshold, runs + 2 * all_runs,
                                changed + all_octets, &octets);
        if (counts[i] > 0) {
            all_runs += counts[i];
            all_octets += octets;
        }
    }
    *used = all_octets;
    return all_runs;
}

int delta_apply(uint8_t *pages, int64_t count, const uint16_t *counts, const uint16_t *runs,
                int64_t all_runs, const uint8_t *changed, int64_t octets)
{
    int64_t run = 0, used = 0;
    for (int64_t i = 0; i < count; i++, pages += PAGE) {
        if (counts[i] > all_runs - run)
            return 0;
        int at = 0;
        for (int64_t last = run + counts[i]; run < last; run++) {
            int length = runs[2 * run + 1];
            at += runs[2 * run];
            if (length == 0 || at + length > PAGE || length > octets - used)
                return 0;
            for (int k = 0; k < length; k++)
                pages[at + k] ^= changed[used + k];
            at += length;
            used += length;
        }
    }
    return run == all_runs && used == octets;
}

typedef struct {
    uint64_t first, second;
} buckets_t;

static buckets_t buckets_of(uint64_t print, uint64_t count)
{
    const uint64_t mix = 0xD6E8FEB86659FD93u;
    uint64_t mixed = (print ^ (print >> 32)) * mix;
    mixed ^= mixed >> 32;
    return (buckets_t){((mixed & 0xffffffffu) * count) >> 32, (((mixed * mix) >> 32) * count) >> 32};
}

/* Tables are larger than a processor's caches, and prints lead anywhere in them: what a print a
 * little further on will look at is asked for beforehand, the slots' prints half as far ahead. */
#define AHEAD 16

static void fetch_buckets(const uint32_t *first, const uint32_t *second, buckets_t place)
{
    __builtin_prefetch(first + place.first);
    __builtin_prefetch(second + place.second);
}

/* `before` has room for `count` numbers. */
void index_put(uint32_t *first, uint32_t *second, uint64_t buckets, uint64_t *kept,
               const uint64_t *prints, const int64_t *slots, int64_t count, uint32_t *before)
{
    for (int64_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            fetch_buckets(first, second, buckets_of(prints[i + AHEAD], buckets));
        kept[slots[i]] = prints[i];
        before[i] = first[buckets_of(prints[i], buckets).first];
    }
    for (int64_t i = 0; i < count; i++)
        first[buckets_of(prints[i], buckets).first] = (uint32_t)(slots[i] + 1);
    for (int64_t i = 0; i < count; i++) {
        buckets_t place = buckets_of(prints[i], buckets);
        if (first[place.first] != (uint32_t)(slots[i] + 1))
            second[place.second] = (uint32_t)(slots[i] + 1);
    }
    for (int64_t i = 0; i < count; i++) {
        if (i + AHEAD < count && before[i + AHEAD])
            __builtin_prefetch(kept + before[i + AHEAD] - 1);
        if (!before[i])
            continue;
        uint64_t moved = kept[before[i] - 1];
        buckets_t place = buckets_of(moved, buckets);
        if (place.first == buckets_of(prints[i], buckets).first && moved != prints[i])
            second[place.second] = before[i];
    }
}

static void fetch_print(const uint32_t *table, uint64_t bucket, const uint64_t *kept)
{
    if (table[bucket])
        __builtin_prefetch(kept + table[bucket] - 1);
}

void index_find(const uint32_t *first, const uint32_t *second, uint64_t buckets,
                const uint64_t *kept, const uint64_t *prints, int64_t count, int64_t *out)
{
    for (int64_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            fetch_buckets(first, second, buckets_of(prints[i + AHEAD], buckets));
        if (i + AHEAD / 2 < count) {
            buckets_t near = buckets_of(prints[i + AHEAD / 2], buckets);
            fetch_print(first, near.first, kept);
            fetch_print(second, near.second, kept);
        }
        buckets_t place = buckets_of(prints[i], buckets);
        uint32_t one = first[place.first], other = second[place.second];
        if (one && kept[one - 1] == prints[i])
            out[i] = (int64_t)one - 1;
        else if (other && kept[other - 1] == prints[i])
            out[i] = (int64_t)other - 1;
        else
            out[i] = -1;
    }
}
