// Labels the faces that an Android phone's camera sees: give an object of this class to CameraX's
// ImageAnalysis.setAnalyzer, with the files of this folder in the app:
//
//     feredge bundle nano --for android --out nano-android
//
// The tests compile it against stand-ins of Android's classes, where kotlinc is installed; no phone has run it.
package feredge.example

import android.graphics.Bitmap
import android.graphics.Matrix
import android.graphics.PointF
import android.graphics.Rect
import android.media.FaceDetector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import feredge.Net
import feredge.predict

private const val MAX_FACES = 4

/** A face's box in the upright frame, the likeliest class, and its probability. */
data class LabelledFace(val box: Rect, val label: String, val probability: Float)

/** Calls `show` with the faces of each frame. */
class ExpressionAnalyzer(private val show: (List<LabelledFace>) -> Unit) : ImageAnalysis.Analyzer {
    private val net = Net()

    override fun analyze(image: ImageProxy) {
        val frame = image.use { upright(it) }
        show(detect(frame).map { box ->
            val (label, probability) = net.predict(frame, box).first()
            LabelledFace(box, label, probability)
        })
    }

    private fun upright(image: ImageProxy): Bitmap {
        val bitmap = image.toBitmap()
        val rotation = Matrix().apply { postRotate(image.imageInfo.rotationDegrees.toFloat()) }
        return Bitmap.createBitmap(bitmap, 0, 0, bitmap.width, bitmap.height, rotation, true)
    }

    /** Android's face detector takes RGB_565 of an even width, and gives the point between the eyes and their distance. */
    private fun detect(frame: Bitmap): List<Rect> {
        val width = frame.width / 2 * 2
        val picture = Bitmap.createBitmap(frame, 0, 0, width, frame.height).copy(Bitmap.Config.RGB_565, false)
        val faces = arrayOfNulls<FaceDetector.Face>(MAX_FACES)
        val count = FaceDetector(width, frame.height, MAX_FACES).findFaces(picture, faces)
        return faces.take(count).filterNotNull().map { face ->
            val middle = PointF().also { face.getMidPoint(it) }
            val left = (middle.x - 1.2f * face.eyesDistance()).toInt()
            val top = (middle.y - 0.9f * face.eyesDistance()).toInt()
            val side = (2.4f * face.eyesDistance()).toInt()
            Rect(left, top, left + side, top + side)
        }
    }
}
