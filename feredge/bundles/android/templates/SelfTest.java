package feredge;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Compares the answers to golden.bin, drawn images, with LiteRT's. */
public final class SelfTest {
    private static final int IMAGES = $IMAGES;

    private SelfTest() {}

    /** Return null if all are equal, else one line. `golden` has the bytes of golden.bin, of an asset. */
    public static String run(byte[] golden) {
        int size = Net.HEIGHT * Net.WIDTH * Net.CHANNELS, classes = Net.CLASSES.length;
        if (golden.length != IMAGES * (size + 4 * classes)) {
            return "expected golden.bin as feredge wrote it, found " + golden.length + " bytes";
        }
        Net net = new Net();
        ByteBuffer answers = ByteBuffer.wrap(golden).order(ByteOrder.LITTLE_ENDIAN);
        for (int row = 0; row < IMAGES; row++) {
            float[] expected = new float[classes];
            for (int i = 0; i < classes; i++) {
                expected[i] = answers.getFloat(IMAGES * size + 4 * (row * classes + i));
            }
            float[] found = net.predict(Arrays.copyOfRange(golden, row * size, (row + 1) * size));
            if (!Arrays.equals(found, expected)) {
                return "image " + row + ": expected " + Arrays.toString(expected) + ", found " + Arrays.toString(found);
            }
        }
        return null;
    }

    /** java -Djava.library.path=FOLDER -cp CLASSES feredge.SelfTest golden.bin: ends with 1 if an answer differs. */
    public static void main(String[] arguments) throws IOException {
        String problem = run(java.nio.file.Files.readAllBytes(java.nio.file.Paths.get(arguments[0])));
        System.out.println(problem == null ? "all images are answered as LiteRT answers them" : problem);
        System.exit(problem == null ? 0 : 1);
    }
}
