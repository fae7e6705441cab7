package feredge

import android.graphics.Bitmap
import android.graphics.Rect
import java.nio.ByteBuffer

/** Classify a bitmap, or the square around a face's box in it: class names and probabilities, the highest first. */
fun Net.predict(bitmap: Bitmap, box: Rect? = null): List<Pair<String, Float>> {
    val picture = if (bitmap.config == Bitmap.Config.ARGB_8888) bitmap else bitmap.copy(Bitmap.Config.ARGB_8888, false)
    val pixels = ByteBuffer.allocateDirect(4 * picture.width * picture.height)
    picture.copyPixelsToBuffer(pixels)
    val scores = if (box == null) predict(pixels, picture.width, picture.height)
        else predict(pixels, picture.width, picture.height, box.left, box.top, box.width(), box.height())
    return Net.CLASSES.zip(scores.toList()).sortedByDescending { it.second }
}
