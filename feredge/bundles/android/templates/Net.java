package feredge;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;

/** The network $TITLE, written by feredge. An object is for one thread; make one for each. */
public final class Net {
    public static final String[] CLASSES = {$CLASSES};
    public static final int HEIGHT = $HEIGHT, WIDTH = $WIDTH;
    /** 1: gray, 3: RGB. */
    public static final int CHANNELS = $CHANNELS;

    static {
        System.loadLibrary("$LIBRARY");
    }

    private final ByteBuffer arena = aligned($ARENA_BYTES);
    private final ByteBuffer input = ByteBuffer.allocateDirect(HEIGHT * WIDTH * CHANNELS);
    private final FloatBuffer scores =
            ByteBuffer.allocateDirect(4 * CLASSES.length).order(ByteOrder.nativeOrder()).asFloatBuffer();
    private ByteBuffer crop = ByteBuffer.allocateDirect(0);

    /** A box in a picture's pixels. */
    public record Box(int x, int y, int width, int height) {}
}
