// Prints the facial expression that the camera of an Arduino Nano 33 BLE Sense sees: the OV7675 of Arduino's Tiny
// Machine Learning Kit. The tests compile and run this sketch on a computer, with stand-ins of the Arduino core and of
// the camera; no board has run it.
//
//     feredge bundle nano --for mcu --board arduino-nano-33-ble-sense --out nano-mcu
//
// Copy nano-mcu into Arduino's folder `libraries`, install the library Arduino_OV767X, and upload. There is no face
// detector: hold the camera so that the face fills the middle two thirds of the picture's height.
#include <Arduino_OV767X.h>
#include <feredge_nano_dense.h>

const int COLUMNS = 176, ROWS = 144; // QCIF
const int HEIGHT = FEREDGE_NANO_DENSE_HEIGHT, WIDTH = FEREDGE_NANO_DENSE_WIDTH;
const int BLOCK = 2; // pixels of the camera, per side, that become one

static uint8_t frame[ROWS * COLUMNS];
static uint8_t face[HEIGHT * WIDTH];
static float probabilities[FEREDGE_NANO_DENSE_CLASSES];

void setup()
{
    Serial.begin(115200);
    while (!Camera.begin(QCIF, GRAYSCALE, 1, OV7675)) {
        Serial.println("expected a camera, found none");
        delay(1000);
    }
}

// The mean of each block of the square in the middle, rounded as the Predictor does it.
void shrink()
{
    const int top = (ROWS - BLOCK * HEIGHT) / 2, left = (COLUMNS - BLOCK * WIDTH) / 2;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            int sum = 0;
            for (int row = 0; row < BLOCK; row++)
                for (int column = 0; column < BLOCK; column++)
                    sum += frame[(top + y * BLOCK + row) * COLUMNS + left + x * BLOCK + column];
            face[y * WIDTH + x] = (sum + BLOCK * BLOCK / 2) / (BLOCK * BLOCK);
        }
}

void loop()
{
    Camera.readFrame(frame);
    shrink();
    const unsigned long start = millis();
    const int best = feredge_nano_dense_predict(face, probabilities);
    const unsigned long duration = millis() - start;
    Serial.print(feredge_nano_dense_classes[best]);
    Serial.print(" ");
    Serial.print(probabilities[best], 3);
    Serial.print(" ms: ");
    Serial.println(duration);
}
