/* Compares the library's answers with the golden vectors, bit for bit: prints `equal`, or the first row that is not. */
#include <stdio.h>

#include "@SYMBOL@_golden.h"

int main(void)
{
    const int row = @SYMBOL@_self_test();
    if (row >= 0) {
        printf("row %d is not equal\n", row);
        return 1;
    }
    puts("equal");
    return 0;
}
