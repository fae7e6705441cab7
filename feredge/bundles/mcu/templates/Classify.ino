// Reads images from the serial port, HEIGHT * WIDTH * CHANNELS bytes each, and prints the class of each.
#include <@SYMBOL@.h>

static uint8_t pixels[@UPPER@_HEIGHT * @UPPER@_WIDTH * @UPPER@_CHANNELS];
static float probabilities[@UPPER@_CLASSES];

void setup()
{
    Serial.begin(115200);
}

void loop()
{
    if (Serial.readBytes((char *)pixels, sizeof pixels) < sizeof pixels)
        return;
    const int best = @SYMBOL@_predict(pixels, probabilities);
    Serial.print(@SYMBOL@_classes[best]);
    Serial.print(" ");
    Serial.println(probabilities[best], 3);
}
