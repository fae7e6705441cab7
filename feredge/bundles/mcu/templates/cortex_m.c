/* The self-test on a Cortex-M board of QEMU, without a C library: prints `equal`, or the first row that is not, and with
   `-icount shift=0` the instructions of the last image. */
#include <stddef.h>

#include "@SYMBOL@_golden.h"

extern unsigned char stack_top[];
void reset(void);
void timer_ended(void);
void *memcpy(void *target, const void *source, size_t size);
void *memset(void *target, int value, size_t size);

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {stack_top, (const void *)reset,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (const void *)timer_ended};

#define SYSTICK ((volatile uint32_t *)0xe000e010) /* control, reload and value of a timer of 24 bits, counting down */
#ifndef PICOSECONDS_PER_TICK
#define PICOSECONDS_PER_TICK 40000 /* 25 MHz */
#endif

static volatile uint32_t timer_ends;

void timer_ended(void)
{
    timer_ends++;
}

static int semihost(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

@MEMORY_FUNCTIONS@
static void print(const char *label, uint32_t number)
{
    char text[12];
    int end = 11;
    text[end] = 0;
    text[--end] = '\n';
    do
        text[--end] = (char)('0' + number % 10);
    while (number /= 10);
    semihost(4, label);
    semihost(4, text + end);
}

void reset(void)
{
    float probabilities[@UPPER@_CLASSES];
    uint32_t start;
    uint64_t ticks;
    int row;
    *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* the floating-point unit, where there is one */
    __asm__ volatile("dsb\n\tisb");
    row = @SYMBOL@_self_test();
    if (row < 0)
        semihost(4, "equal\n");
    else
        print("not equal: row ", (uint32_t)row);
    SYSTICK[1] = 0xffffff;
    SYSTICK[2] = 0;
    SYSTICK[0] = 7;
    while (SYSTICK[2] == 0) {
    }
    timer_ends = 0;
    start = SYSTICK[2];
    @SYMBOL@_predict(@SYMBOL@_golden_pixels[@UPPER@_GOLDEN_IMAGES - 1], probabilities);
    ticks = start - (uint64_t)SYSTICK[2];
    ticks += (uint64_t)timer_ends << 24;
    print("instructions ", (uint32_t)(ticks * PICOSECONDS_PER_TICK / 1000));
    semihost(0x18, (const void *)(row < 0 ? 0x20026 : 0x20023)); /* exit status 0 or 1 */
    for (;;) {
    }
}
