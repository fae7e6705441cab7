// Compares the library's answers on this board with the golden vectors, bit for bit.
#include <@SYMBOL@_golden.h>

void setup()
{
    Serial.begin(115200);
}

void loop()
{
    const unsigned long start = micros();
    const int row = @SYMBOL@_self_test();
    const unsigned long each = (micros() - start) / @UPPER@_GOLDEN_IMAGES;
    if (row < 0) {
        Serial.print("equal; microseconds per image: ");
        Serial.println(each);
    } else {
        Serial.print("not equal: row ");
        Serial.println(row);
    }
    delay(5000);
}
