package feredge;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;

/** The network $NAME, written by feredge. An object serves one thread; make one for each. */
public final class Net {
    /** Class names, in the order of the scores. */
    public static final String[] CLASSES = {$CLASSES};
    public static final int HEIGHT = $HEIGHT;
    public static final int WIDTH = $WIDTH;
    /** 1: gray, 3: RGB. */
    public static final int CHANNELS = $CHANNELS;
    private static final int ALIGNMENT = 16;
    private static final int LARGEST_CROP = 4; // times the picture's longer side

    static {
        System.loadLibrary("feredge");
    }

    private final ByteBuffer arena = ByteBuffer.allocateDirect($ARENA_BYTES + ALIGNMENT).alignedSlice(ALIGNMENT);
    private final ByteBuffer input = ByteBuffer.allocateDirect(HEIGHT * WIDTH * CHANNELS);
    private final ByteBuffer output = ByteBuffer.allocateDirect(4 * CLASSES.length).order(ByteOrder.nativeOrder());
    private ByteBuffer crop = ByteBuffer.allocateDirect(0);

    /** Classify the network's input, uint8 [HEIGHT][WIDTH][CHANNELS]; return the probability of each class. */
    public float[] predict(byte[] pixels) {
        if (pixels.length != input.capacity()) {
            throw new IllegalArgumentException(
                    "expected " + HEIGHT + " x " + WIDTH + " x " + CHANNELS + " bytes, found " + pixels.length);
        }
        input.clear();
        input.put(pixels);
        return run();
    }

    /**
     * Classify the square around a box of a picture, as feredge's Predictor crops a face; the whole picture's box
     * without it.
     *
     * @param rgba a direct buffer of the picture, 4 bytes a pixel: a Bitmap of ARGB_8888 copied by copyPixelsToBuffer.
     */
    public float[] predict(ByteBuffer rgba, int columns, int rows, int x, int y, int width, int height) {
        requirePicture(rgba, columns, rows);
        int side = Math.max(width, height);
        if (width < 1 || height < 1 || x >= columns || y >= rows || (long) x + width < 1 || (long) y + height < 1
                || side > LARGEST_CROP * (long) Math.max(columns, rows)) {
            throw new IllegalArgumentException("expected a box that overlaps the " + columns + " x " + rows
                    + " picture, found " + x + ", " + y + ", " + width + ", " + height);
        }
        return convert(rgba, columns, rows, x + Math.floorDiv(width - side, 2), y + Math.floorDiv(height - side, 2),
                side, side);
    }

    /** Classify a whole picture. */
    public float[] predict(ByteBuffer rgba, int columns, int rows) {
        requirePicture(rgba, columns, rows);
        return convert(rgba, columns, rows, 0, 0, columns, rows);
    }

    private static void requirePicture(ByteBuffer rgba, int columns, int rows) {
        if (!rgba.isDirect() || columns < 1 || rows < 1 || rgba.capacity() < 4L * columns * rows) {
            throw new IllegalArgumentException("expected a direct buffer of " + columns + " x " + rows
                    + " RGBA pixels, found " + rgba);
        }
    }

    private float[] convert(ByteBuffer rgba, int columns, int rows, int left, int top, int width, int height) {
        int bytes = Math.multiplyExact(Math.multiplyExact(width, height), CHANNELS);
        if (crop.capacity() < bytes) {
            crop = ByteBuffer.allocateDirect(bytes);
        }
        convert(rgba, rows, columns, left, top, width, height, crop, input);
        return run();
    }

    private float[] run() {
        predict(arena, input, output);
        FloatBuffer scores = output.asFloatBuffer();
        float[] result = new float[CLASSES.length];
        scores.get(result);
        return result;
    }

    private static native int predict(ByteBuffer arena, ByteBuffer input, ByteBuffer output);

    private static native void convert(ByteBuffer picture, int rows, int columns, int left, int top, int width,
            int height, ByteBuffer crop, ByteBuffer input);
}
