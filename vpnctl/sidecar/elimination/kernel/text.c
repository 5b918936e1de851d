/* The loops over text; text_portable.py defines what they do, and tests hold both equal.
 *
 * All pointers are to contiguous arrays of the shapes that text_native.py has checked. */

#include <stdint.h>
#include <string.h>

#define PASSAGE 1024
#define LONGEST 16
/* Digits of a number. */
#define FEWEST 4
#define MOST 8
/* What octets from 0x80 on stand for: numbers, words of one octet, words of two. */
#define NUMBERS 0x80
#define SHORT 0x90
#define LONG 0xf0
#define EACH(octet) (0x0101010101010101u * (octet))

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define VECTORISED __attribute__((target_clones("avx2", "default")))
#else
#define VECTORISED
#endif

VECTORISED void find_text(const uint8_t *passages, int64_t count, uint8_t *out)
{
    for (int64_t i = 0; i < count; i++, passages += PASSAGE) {
        uint8_t all = 0;
        int readable = 0;
        for (int begin = 0; begin < PASSAGE; begin += 128) {
            uint8_t part = 0;
            for (int k = begin; k < begin + 128; k++) {
                all |= passages[k];
                part += (uint8_t)(passages[k] - ' ') < '~' + 1 - ' ' || passages[k] == '\n';
            }
            readable += part;
        }
        out[i] = all < 0x80 && readable >= PASSAGE / 4 * 3;
    }
}

static uint64_t load(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

/* The high bit of each octet from `from` to `to`; octets are below 0x80. */
static uint64_t between(uint64_t word, int from, int to)
{
    return (word + EACH(0x80 - from)) & ~(word + EACH(0x7f - to)) & EACH(0x80);
}

static uint64_t letters(uint64_t word)
{
    return between(word | EACH(0x20), 'a', 'z');
}

/* How many octets there are before the first one whose high bit is set; `last` if none is. */
static int before(uint64_t marks, int last)
{
    return marks ? __builtin_ctzll(marks) >> 3 : last;
}

static uint64_t first_octets(uint64_t word, int count)
{
    return count >= 8 ? word : word & (((uint64_t)1 << (8 * count)) - 1);
}

/* A place among the words that were met: its own, or where it may push another one out. */
static uint64_t place_of(const uint64_t *kept, const uint32_t *counts, const uint16_t *codes,
                         uint64_t mask, uint64_t low, uint64_t high, int *known)
{
    uint64_t mixed = (low ^ (high * 0x9E3779B97F4A7C15u)) * 0xD6E8FEB86659FD93u;
    uint64_t one = (mixed ^ (mixed >> 32)) & mask, other = one ^ 1;
    uint64_t second = !((kept[2 * other] ^ low) | (kept[2 * other + 1] ^ high));
    uint64_t place = one ^ second;
    *known = !((kept[2 * place] ^ low) | (kept[2 * place + 1] ^ high));
    if (*known)
        return place;
    if (codes[one])
        return other;
    return codes[other] || counts[one] <= counts[other] ? one : other;
}

/* 16 octets behind the text are no letters, digits or spaces; `spelled` has room for two octets
 * for each of the text, `digits` for one, and both for 16 more.  Returns octets spelled. */
int64_t spell(const uint8_t *text, int64_t size, uint64_t *kept, int64_t places,
              uint32_t *counts, const uint16_t *codes, uint8_t *spelled, uint8_t *digits,
              int64_t *all_digits)
{
    const uint8_t *at = text, *end = text + size;
    uint8_t *out = spelled, *number = digits;
    while (at < end) {
        uint64_t low = load(at), marks = letters(low);
        if (!(marks & 0x80)) {
            marks = between(low, '0', '9');
            if ((marks & 0x80808080) != 0x80808080) {
                *out++ = *at++;
                continue;
            }
            int length = before(~marks & EACH(0x80), MOST);
            memcpy(number, at, 8);
            number += length;
            at += length;
            int space = *at == ' ';
            *out++ = (uint8_t)(NUMBERS + length - FEWEST + 8 * space);
            at += space;
            continue;
        }
        uint64_t high = load(at + 8);
        int far = before(~letters(high) & EACH(0x80), 7);
        int length = before(~marks & EACH(0x80), 8 + (far < 7 ? far : 7));
        length += at[length] == ' ';
        low = first_octets(low, length);
        high = length > 8 ? first_octets(high, length - 8) : 0;
        memcpy(out, &low, 8);
        memcpy(out + 8, &high, 8);
        at += length;
        int known;
        uint64_t place = place_of(kept, counts, codes, (uint64_t)places - 1, low, high, &known);
        if (known) {
            counts[place]++;
        } else if (!codes[place]) {
            if (counts[place]) {
                counts[place]--;
            } else {
                kept[2 * place] = low;
                kept[2 * place + 1] = high;
                counts[place] = 1;
            }
        }
        int code = known ? codes[place] : 0;
        if (!code) {
            out += length;
        } else if (SHORT + code - 1 < LONG) {
            *out++ = (uint8_t)(SHORT + code - 1);
        } else {
            code -= LONG - SHORT + 1;
            *out++ = (uint8_t)(LONG + (code >> 8));
            *out++ = (uint8_t)code;
        }
    }
    *all_digits = number - digits;
    return out - spelled;
}

/* `words`: LONGEST octets for each code, from 0 on. */
int unspell(const uint8_t *spelled, int64_t octets, const uint8_t *digits, int64_t all_digits,
            const uint8_t *words, const uint8_t *lengths, uint8_t *text, int64_t size)
{
    const uint8_t *at = spelled, *last = spelled + octets;
    uint8_t *out = text, *end = text + size;
    while (at < last) {
        uint8_t octet = *at++;
        if (octet < NUMBERS) {
            if (out == end)
                return 0;
            *out++ = octet;
            continue;
        }
        if (octet < SHORT) {
            int length = ((octet - NUMBERS) & 7) + FEWEST, space = (octet - NUMBERS) >> 3;
            if (length > MOST || length > all_digits || length + space > end - out)
                return 0;
            memcpy(out, digits, (size_t)length);
            out += length;
            digits += length;
            all_digits -= length;
            if (space)
                *out++ = ' ';
            continue;
        }
        int code = octet - SHORT + 1;
        if (octet >= LONG) {
            if (at == last)
                return 0;
            code = LONG - SHORT + 1 + ((octet - LONG) << 8) + *at++;
        }
        int length = lengths[code];
        if (!length || length > end - out)
            return 0;
        if (end - out >= LONGEST)
            memcpy(out, words + LONGEST * code, LONGEST);
        else
            memcpy(out, words + LONGEST * code, (size_t)length);
        out += length;
    }
    return out == end && !all_digits;
}
