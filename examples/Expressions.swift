// Labels the faces in a picture on an iPhone or a Mac, with the C library that this command writes:
//
//     feredge export runs/nano --files int8.c
//
// Add dense.int8.c and dense.int8.h to the Xcode project, and `#include "dense.int8.h"` to its bridging header. The tests
// check the syntax, where tree-sitter's Swift grammar is installed; it was not compiled, and no device has run it.
// Core Graphics converts to gray and resizes otherwise than the Predictor, so that probabilities differ a little.
import CoreGraphics
import Vision

struct LabelledFace {
    let box: CGRect // in pixels, from the picture's lower left corner
    let label: String
    let probability: Float
}

private let height = Int(FEREDGE_NANO_DENSE_HEIGHT), width = Int(FEREDGE_NANO_DENSE_WIDTH)

/// Detect the faces in a picture and classify each. The library has one arena: call it from one thread at a time.
func labelFaces(in picture: CGImage) throws -> [LabelledFace] {
    let detection = VNDetectFaceRectanglesRequest()
    try VNImageRequestHandler(cgImage: picture).perform([detection])
    return (detection.results ?? []).compactMap { face in
        let box = VNImageRectForNormalizedRect(face.boundingBox, picture.width, picture.height)
        return classify(picture, square(around: box))
    }
}

private func square(around box: CGRect) -> CGRect {
    let side = max(box.width, box.height)
    return CGRect(x: box.midX - side / 2, y: box.midY - side / 2, width: side, height: side)
}

private func classify(_ picture: CGImage, _ box: CGRect) -> LabelledFace? {
    guard let context = CGContext(
        data: nil, width: width, height: height, bitsPerComponent: 8, bytesPerRow: width,
        space: CGColorSpaceCreateDeviceGray(), bitmapInfo: CGImageAlphaInfo.none.rawValue)
    else { return nil }
    context.interpolationQuality = .high
    context.scaleBy(x: CGFloat(width) / box.width, y: CGFloat(height) / box.height)
    context.translateBy(x: -box.minX, y: -box.minY)
    context.draw(picture, in: CGRect(x: 0, y: 0, width: picture.width, height: picture.height))
    guard let pixels = context.data?.assumingMemoryBound(to: UInt8.self) else { return nil }
    var probabilities = [Float](repeating: 0, count: Int(FEREDGE_NANO_DENSE_CLASSES))
    let best = Int(feredge_nano_dense_predict(pixels, &probabilities))
    let label = withUnsafeBytes(of: feredge_nano_dense_classes) { names in
        String(cString: names.bindMemory(to: UnsafePointer<CChar>.self)[best])
    }
    return LabelledFace(box: box, label: label, probability: probabilities[best])
}
