/* Runs a library on an emulated mps2 board: compares golden vectors, and prints the instructions of an inference. */
#include "net.h"
#include "golden.h"

extern unsigned char stack_top[];
int main(void);
void reset(void);
void *memcpy(void *target, const void *source, size_t size);
void *memset(void *target, int value, size_t size);

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {stack_top, (const void *)reset};

#define TIMER ((volatile uint32_t *)0x40000000) /* CTRL, VALUE and RELOAD of a timer that counts down at 25 MHz */
#define INSTRUCTIONS_PER_TICK 40                /* with -icount shift=0 an instruction takes 1 ns */

static int semihost(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void *memcpy(void *target, const void *source, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((volatile unsigned char *)target)[i] = ((const unsigned char *)source)[i];
    return target;
}

void *memset(void *target, int value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((volatile unsigned char *)target)[i] = (unsigned char)value;
    return target;
}

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

int main(void)
{
    uint32_t equal = 0, ticks = 0;
    TIMER[2] = TIMER[1] = 0xffffffff;
    TIMER[0] = 1;
    for (int image = 0; image < GOLDEN_IMAGES; image++) {
        float probabilities[FEREDGE_NET_CLASSES];
        const uint32_t start = TIMER[1];
        feredge_net_predict(golden_pixels[image], probabilities);
        ticks = start - TIMER[1];
        int same = 1;
        for (int i = 0; i < FEREDGE_NET_CLASSES; i++)
            same = same && probabilities[i] * 256.0f == (float)golden_outputs[image][i];
        equal += (uint32_t)same;
    }
    print("equal ", equal);
    print("instructions ", ticks * INSTRUCTIONS_PER_TICK);
    return 0;
}

void reset(void)
{
    *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* the floating-point unit, where there is one */
    __asm__ volatile("dsb\nisb");
    main();
    semihost(0x18, (const void *)0x20026);
    for (;;) {
    }
}
